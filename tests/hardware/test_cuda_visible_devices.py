"""All forms of CUDA_VISIBLE_DEVICES."""

import pytest

from maritalk_vllm.hardware.cuda_visible_devices import visible_gpus
from maritalk_vllm.hardware.gpu import Gpu
from tests.hardware.fleet import MIG_UUIDS, UUIDS

OLD_MIG = f"MIG-{UUIDS[3]}/1/0"


def gpu(index: int, uuid: str, parent: str | None = None, name: str = "NVIDIA A100-SXM4-40GB") -> Gpu:
    return Gpu(index, uuid, name, 10, 10, (8, 0), parent_uuid=parent)


MACHINE = [
    gpu(0, UUIDS[0]),
    gpu(1, UUIDS[1]),
    gpu(2, MIG_UUIDS[0], UUIDS[2]),
    gpu(2, MIG_UUIDS[1], UUIDS[2]),
    gpu(3, OLD_MIG, UUIDS[3]),
]
ZERO, ONE, PART, OTHER_PART, OLD_PART = MACHINE
ALL = MACHINE


@pytest.mark.parametrize(
    ("value", "selected", "remark"),
    [
        (None, ALL, None),
        ("0", [ZERO], None),
        ("0,1", [ZERO, ONE], None),
        ("1,0", [ONE, ZERO], None),
        (" 1 , 0 ", [ONE, ZERO], None),
        ("1x", [ONE], None),
        ("+1", [ONE], None),
        ("2", [PART], None),
        (UUIDS[1], [ONE], None),
        (f"{UUIDS[1]},{UUIDS[0]}", [ONE, ZERO], None),
        (UUIDS[1][:8], [ONE], None),
        (UUIDS[2], [PART], None),
        (MIG_UUIDS[1], [OTHER_PART], None),
        (f"{MIG_UUIDS[1]},{MIG_UUIDS[0]}", [OTHER_PART, PART], None),
        (OLD_MIG, [OLD_PART], None),
        ("", [], "is empty, which hides every GPU"),
        (" ", [], "is empty, which hides every GPU"),
        ("-1", [], "is -1, which hides every GPU"),
        ("0,-1,1", [ZERO], "-1 ends the list"),
        ("0,9,1", [ZERO], "there is no GPU 9, and CUDA does not look at what follows it"),
        ("9", [], "there is no GPU 9"),
        ("0,,1", [ZERO], "an empty entry names no GPU"),
        ("nonsense", [], "nonsense names no GPU"),
        ("0,cuda:1", [ZERO], "cuda:1 names no GPU"),
        ("GPU-", [], "GPU- is the beginning of 2 UUIDs"),
        ("GPU-ffff", [], "no GPU here is GPU-ffff"),
        ("MIG-ffff", [], "no GPU here is MIG-ffff"),
        ('"0,1"', [], '"0 names no GPU: write the list without quotes'),
        ("'0'", [], "'0' names no GPU: write the list without quotes"),
        (f'"{UUIDS[0]}"', [], "write the list without quotes"),
        ("\u201c0\u201d", [], "write the list without quotes"),
        ("0,'1'", [ZERO], "'1' names no GPU: write the list without quotes"),
        ("NoDevFiles", [], "NoDevFiles is what Slurm sets for a job that asked for no GPU"),
        ("0,0", [], "names 0 twice: CUDA then shows no GPU at all"),
        (f"0,1,{UUIDS[0]}", [], "twice"),
    ],
)
def test_visible_gpus(value: str | None, selected: list[Gpu], remark: str | None) -> None:
    seen = visible_gpus(MACHINE, value)
    assert list(seen.gpus) == selected
    assert set(seen.hidden) == set(MACHINE) - set(selected)
    assert len(seen.remarks) == (remark is not None)
    assert (remark or "") in "".join(seen.remarks)


@pytest.mark.parametrize(
    ("value", "order", "remarked"),
    [
        ("0", None, True),
        ("0", "FASTEST_FIRST", True),
        ("0", "PCI_BUS_ID", False),
        (UUIDS[0], None, False),
        (None, None, False),
    ],
)
def test_indices_are_ambiguous_among_different_models(value: str | None, order: str | None, remarked: bool) -> None:
    mixed = [gpu(0, UUIDS[0]), gpu(1, UUIDS[1], name="NVIDIA A10")]
    seen = visible_gpus(mixed, value, order)
    assert seen.gpus[0].index == 0
    assert bool(seen.remarks) == remarked
