"""GPU models by their common names, and hypothetical machines."""

import re

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.hardware.gpu_catalog import find_gpu, gpu_models, hypothetical_machine, parse_node_prefix
from maritalk_vllm.hardware.interconnect import Link

MiB = 1 << 20


@pytest.mark.parametrize("gpu_model", gpu_models(), ids=lambda gpu_model: gpu_model.short_name)
def test_every_name_finds_its_gpu(gpu_model: object) -> None:
    for name in gpu_model.names:  # type: ignore[attr-defined]
        for written in (name, name.lower(), name.upper(), name.replace("-", " "), name.replace(" ", "")):
            assert find_gpu(written) is gpu_model


def test_covered_generations() -> None:
    generations = {gpu_model.compute_capability for gpu_model in gpu_models()}
    assert {(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)} <= generations
    assert all(gpu_model.compute_capability < (8, 0) for gpu_model in (find_gpu("T4"), find_gpu("V100")))


@pytest.mark.parametrize(
    ("name", "mib"), [("A10", 23028), ("L4", 23034), ("A100-40GB", 40960), ("A100-80GB", 81920), ("A6000", 49140)]
)
def test_totals_are_those_of_nvml(name: str, mib: int) -> None:
    assert find_gpu(name).memory_total_bytes == mib * MiB


def test_an_l4_has_the_24_gb_of_the_reference() -> None:
    assert round(find_gpu("L4").memory_total_bytes / 1e9, 2) == 24.15


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("A10", ["NVIDIA A10"]),
        ("1xA10", ["NVIDIA A10"]),
        ("4xA10", ["NVIDIA A10"] * 4),
        ("2xA100-40GB,1xT4", ["NVIDIA A100-SXM4-40GB"] * 2 + ["Tesla T4"]),
        (" 2 X l40s , rtx-4090 ", ["NVIDIA L40S"] * 2 + ["NVIDIA GeForce RTX 4090"]),
        ("NVIDIA A10", ["NVIDIA A10"]),
        ("8×h100", ["NVIDIA H100 80GB HBM3"] * 8),
    ],
)
def test_hypothetical_machines(text: str, names: list[str]) -> None:
    machine = hypothetical_machine(text)
    assert [gpu.name for gpu in machine.gpus] == names
    assert [gpu.index for gpu in machine.gpus] == list(range(len(names)))
    assert len({gpu.uuid for gpu in machine.gpus}) == len(names)
    assert len(machine.links) == len(names) * (len(names) - 1) // 2
    assert machine.host is None


def test_links_of_hypothetical_machines() -> None:
    assert set(hypothetical_machine("4xA100-40GB").links.values()) == {Link.NVLINK}
    assert set(hypothetical_machine("4xA10").links.values()) == {Link.NODE}
    assert set(hypothetical_machine("1xA100-40GB,1xH100").links.values()) == {Link.NODE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4xA11", "There is no card A11"),
        ("2xA100-40", "Did you mean A100-40GB?"),
        ("RTX-4091", "Did you mean RTX-4090?"),
        ("0xA10", "cannot be read"),
        ("", "cannot be read"),
        ("4x", "There is no card 4x"),
        # Never suggest a GPU of another series or maker, however similar its name.
        ("MI300X", "MI300X is not an NVIDIA GPU. This server runs on NVIDIA GPUs."),
        ("8xMI325X", "MI325X is not an NVIDIA GPU."),
        ("AMD Instinct MI250", "AMD Instinct MI250 is not an NVIDIA GPU."),
        ("Radeon RX 7900 XTX", "is not an NVIDIA GPU."),
        ("RX7900XTX", "is not an NVIDIA GPU."),
        ("W7900", "is not an NVIDIA GPU."),
        ("Arc A770", "is not an NVIDIA GPU."),
        ("B580", "is not an NVIDIA GPU."),
        ("Gaudi3", "is not an NVIDIA GPU."),
        ("TPU v5e", "is not an NVIDIA GPU."),
        ("V100 PCIe", "Did you mean V100?"),
        ("RTX 3080 12GB", "Did you mean RTX-3080?"),
        ("H100 96GB", "Did you mean H100?"),
        ("RTX PRO 6000 Blackwel", "Did you mean RTX-PRO-6000?"),
        ("GTX-1080", "Known: A10, "),
        ("A1000", "Known: A10, "),
        ("B100", "Known: A10, "),
        ("P100", "Known: A10, "),
        # More GPUs than a machine can have.
        ("99999999999xA10", "--gpus asks for 99999999999 cards. Plans are made for 72 of them at most."),
        ("40xA10,33xL4", "--gpus asks for 73 cards."),
        (f"{'9' * 5000}xA10", "--gpus asks for 99999999"),
        ("00xA10", "cannot be read"),
        ("A10,,A10", "cannot be read"),
    ],
)
def test_unknown_gpus(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        hypothetical_machine(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "nodes", "gpus"),
    [
        ("4xA10", 1, "4xA10"),
        ("2 nodes of 4xA10", 2, "4xA10"),
        (" 16 Nodes  of 2xA100-40GB,1xT4", 16, "2xA100-40GB,1xT4"),
        ("1 node of A10", 1, "A10"),
    ],
)
def test_number_of_nodes(text: str, nodes: int, gpus: str) -> None:
    assert parse_node_prefix(text) == (nodes, gpus)


def test_too_many_nodes() -> None:
    with pytest.raises(UsageError, match=r"--gpus asks for 99999999999 nodes\. Plans are made for 10000"):
        parse_node_prefix("99999999999 nodes of A10")


@pytest.mark.parametrize(
    ("name", "nvml", "mib", "capability"),
    [
        # As nvidia-smi prints them; capabilities by https://developer.nvidia.com/cuda-gpus.
        ("H20", "NVIDIA H20", 97871, (9, 0)),
        ("A800", "NVIDIA A800-SXM4-80GB", 81920, (8, 0)),
        ("H800", "NVIDIA H800", 81559, (9, 0)),
        ("L20", "NVIDIA L20", 46068, (8, 9)),
        ("A100 PCIe", "NVIDIA A100-PCIE-40GB", 40960, (8, 0)),
        ("A100 PCIe 80GB", "NVIDIA A100 80GB PCIe", 81920, (8, 0)),
        ("H200 NVL", "NVIDIA H200 NVL", 143771, (9, 0)),
        ("3080", "NVIDIA GeForce RTX 3080", 10240, (8, 6)),
        ("RTX 3090 Ti", "NVIDIA GeForce RTX 3090 Ti", 24564, (8, 6)),
        ("RTX 4070", "NVIDIA GeForce RTX 4070", 12282, (8, 9)),
        ("4080 Super", "NVIDIA GeForce RTX 4080 SUPER", 16376, (8, 9)),
        ("RTX4060Ti-16GB", "NVIDIA GeForce RTX 4060 Ti 16GB", 16380, (8, 9)),
        ("RTX 5070 Ti", "NVIDIA GeForce RTX 5070 Ti", 16303, (12, 0)),
        ("5080", "NVIDIA GeForce RTX 5080", 16303, (12, 0)),
        ("RTX PRO 5000", "NVIDIA RTX PRO 5000 Blackwell", 48935, (12, 0)),
        ("GB10", "NVIDIA GB10", 122570, (12, 1)),
        ("GB200", "NVIDIA GB200", 189471, (10, 0)),
        ("B300", "NVIDIA B300 SXM6 AC", 275040, (10, 3)),
        ("A10-24GB", "NVIDIA A10", 23028, (8, 6)),
        ("L4 24GB", "NVIDIA L4", 23034, (8, 9)),
    ],
)
def test_common_gpus(name: str, nvml: str, mib: int, capability: tuple[int, int]) -> None:
    gpu_model = find_gpu(name)
    assert (gpu_model.names[0], gpu_model.memory_total_bytes, gpu_model.compute_capability) == (
        nvml,
        mib * MiB,
        capability,
    )


def test_names_are_unique() -> None:
    names = [re.sub(r"[^a-z0-9]", "", name.lower()) for gpu_model in gpu_models() for name in gpu_model.names]
    assert len(names) == len(set(names))


def test_zero_nodes() -> None:
    with pytest.raises(UsageError, match="0 nodes of A10"):
        parse_node_prefix("0 nodes of A10")
