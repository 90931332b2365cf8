"""The inventory, through the real pynvml and a fake driver library."""

from pathlib import Path

import psutil
import pytest

from tests.hardware.fleet import IDLE, MIG, MIG_UUIDS, UUIDS, MiB, gpus, links, probe

FALLEN_OFF_THE_BUS = "it has fallen off the bus"


def test_whole_gpus(nvml_library: Path) -> None:
    inventory = probe(nvml_library, gpus("A10", "A10"))
    first, second = inventory["gpus"]
    assert first == {
        "index": 0,
        "uuid": UUIDS[0],
        "name": "NVIDIA A10",
        "memory_total_bytes": 23028 * MiB,
        "memory_free_bytes": 23028 * MiB - IDLE,
        "compute_capability": [8, 6],
        "processes": [],
        "parent_uuid": None,
        "is_integrated": False,
    }
    assert (second["index"], second["uuid"]) == (1, UUIDS[1])
    assert inventory["driver"] == {"version": "570.86.15", "cuda_version": [12, 8]}
    assert inventory["unusable"] == inventory["hidden"] == inventory["remarks"] == []


def test_the_drivers_versions(nvml_library: Path) -> None:
    inventory = probe(nvml_library, "driver 580.65.06 13000\n" + gpus("T4"))
    assert inventory["driver"] == {"version": "580.65.06", "cuda_version": [13, 0]}
    assert inventory["gpus"][0]["compute_capability"] == [7, 5]


def test_a_driver_without_gpus(nvml_library: Path) -> None:
    inventory = probe(nvml_library, "driver 570.86.15 12080\n")
    assert inventory["gpus"] == []
    assert inventory["driver"] is not None


@pytest.mark.parametrize(
    ("level", "link"),
    [
        ("nvlink", "NVLINK"),
        ("0", "SWITCH"),
        ("10", "SWITCH"),
        ("20", "SWITCH"),
        ("30", "NODE"),
        ("40", "NODE"),
        ("50", "SYSTEM"),
    ],
)
def test_links_of_eight_gpus(nvml_library: Path, level: str, link: str) -> None:
    inventory = probe(nvml_library, gpus(*["A100-40GB"] * 8) + links(8, level))
    assert len(inventory["links"]) == 28
    assert set(inventory["links"].values()) == {link}


def test_links_of_pairs(nvml_library: Path) -> None:
    inventory = probe(nvml_library, gpus(*["A6000"] * 4) + "link 0 2 nvlink\nlink 1 3 20\n")
    named = {link: pair.split() for pair, link in inventory["links"].items() if link != "SYSTEM"}
    assert named == {"NVLINK": sorted([UUIDS[0], UUIDS[2]]), "SWITCH": sorted([UUIDS[1], UUIDS[3]])}


def test_unreported_links_count_as_the_slowest(nvml_library: Path) -> None:
    errors = "error nvmlDeviceGetP2PStatus 3\nerror nvmlDeviceGetTopologyCommonAncestor 3\n"
    inventory = probe(nvml_library, gpus("A10", "A10") + links(2, "nvlink") + errors)
    assert set(inventory["links"].values()) == {"SYSTEM"}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("computemode 1 2\n", "its compute mode forbids processes: sudo nvidia-smi -c DEFAULT"),
        (
            "computemode 1 3\nprocess 1 compute 4711 9000000000 /usr/bin/python3\n",
            "process 4711 uses it exclusively, as its compute mode has it",
        ),
        ("computemode 1 3\n", None),  # no process uses it
        ("process 1 compute 4711 9000000000 /usr/bin/python3\n", None),
        ("computemode 1 2\nerror nvmlDeviceGetComputeMode 3\n", None),  # not supported, as on a virtual GPU
    ],
)
def test_a_gpu_that_cuda_would_call_busy_is_not_used(nvml_library: Path, lines: str, reason: str | None) -> None:
    inventory = probe(nvml_library, gpus("A10", "A10") + lines)
    assert [gpu["index"] for gpu in inventory["gpus"]] == ([0, 1] if reason is None else [0])
    assert [each["reason"] for each in inventory["unusable"]] == ([] if reason is None else [reason])


@pytest.mark.parametrize(("state", "is_remarked"), [(0, False), (1, True), (2, True), (3, False)])
def test_an_nvswitch_without_fabric_manager_is_remarked(nvml_library: Path, state: int, is_remarked: bool) -> None:
    fabric = "".join(f"fabric {index} {state}\n" for index in range(2))
    remarks = probe(nvml_library, gpus("A100-80GB", "A100-80GB", "A10") + fabric)["remarks"]
    assert len(remarks) == is_remarked
    assert not remarks or "the NVSwitch of GPU 0, 1," in remarks[0]


def test_mig_instances_have_their_own_memory(nvml_library: Path) -> None:
    inventory = probe(nvml_library, MIG)
    whole, larger, smaller = inventory["gpus"]
    assert whole["parent_uuid"] is None
    assert [larger["uuid"], smaller["uuid"]] == MIG_UUIDS[:2]
    assert (larger["memory_total_bytes"], larger["memory_free_bytes"]) == (20 * 10**9, 19 * 10**9)
    assert (smaller["memory_total_bytes"], smaller["memory_free_bytes"]) == (5 * 10**9, 4 * 10**9)
    for instance in (larger, smaller):
        assert (instance["index"], instance["parent_uuid"]) == (1, UUIDS[1])
        assert instance["compute_capability"] == [8, 0]
        assert "MIG" in instance["name"]
    assert inventory["links"] == {}


def test_mig_mode_without_an_instance(nvml_library: Path) -> None:
    inventory = probe(nvml_library, gpus("A100-40GB", "A100-40GB") + "migmode 0\n")
    assert [gpu["index"] for gpu in inventory["gpus"]] == [1]
    assert "nvidia-smi mig -cgi" in inventory["unusable"][0]["reason"]
    assert inventory["unusable"][0]["uuid"] == UUIDS[0]


@pytest.mark.parametrize(
    ("function", "code", "uuid_is_known", "reason"),
    [
        ("nvmlDeviceGetHandleByIndex_v2", 15, False, FALLEN_OFF_THE_BUS),
        ("nvmlDeviceGetHandleByIndex_v2", 4, False, "this user may not use it"),
        ("nvmlDeviceGetUUID", 15, False, FALLEN_OFF_THE_BUS),
        ("nvmlDeviceGetMemoryInfo", 15, True, FALLEN_OFF_THE_BUS),
        ("nvmlDeviceGetMigMode", 15, True, FALLEN_OFF_THE_BUS),
        ("nvmlDeviceGetComputeRunningProcesses_v3", 15, True, FALLEN_OFF_THE_BUS),
        ("nvmlDeviceGetMemoryInfo", 16, True, "it has to be reset: nvidia-smi --gpu-reset"),
        ("nvmlDeviceGetMemoryInfo", 999, True, "the driver says: Unknown Error"),
    ],
)
def test_failed_gpu_does_not_affect_the_others(
    nvml_library: Path, function: str, code: int, uuid_is_known: bool, reason: str
) -> None:
    inventory = probe(nvml_library, gpus("A10", "A10", "A10") + f"error {function} {code} 1\n")
    assert [gpu["index"] for gpu in inventory["gpus"]] == [0, 2]
    (lost,) = inventory["unusable"]
    assert (lost["index"], lost["uuid"]) == (1, UUIDS[1] if uuid_is_known else None)
    assert lost["reason"].startswith(reason)


def test_gpu_lost_while_links_are_queried(nvml_library: Path) -> None:
    inventory = probe(nvml_library, gpus("A10", "A10") + "error nvmlDeviceGetP2PStatus 15\n")
    assert set(inventory["links"].values()) == {"SYSTEM"}


def test_processes_that_hold_memory(nvml_library: Path) -> None:
    inventory = probe(
        nvml_library,
        gpus("A10", "A10", free_mib=9000)
        + "process 0 graphics 812 40000000 /usr/lib/xorg/Xorg\n"
        + "process 0 compute 4711 14000000000 /opt/venv/bin/python3 serve.py --api-key SECRET\n"
        + "process 0 compute 4712 - -\n",
    )
    assert inventory["gpus"][0]["processes"] == [
        {"pid": 4711, "name": "python3", "memory_bytes": 14000000000},
        {"pid": 812, "name": "Xorg", "memory_bytes": 40000000},
        {"pid": 4712, "name": None, "memory_bytes": None},
    ]
    assert inventory["gpus"][1]["processes"] == []


@pytest.mark.parametrize("code", [3, 4, 13])
def test_unreported_processes(nvml_library: Path, code: int) -> None:
    errors = f"error nvmlDeviceGetComputeRunningProcesses_v3 {code}\n"
    inventory = probe(nvml_library, gpus("A10") + errors + "process 0 compute 1 5 x\n")
    assert inventory["gpus"][0]["processes"] == []


@pytest.mark.parametrize(
    ("fleet", "message", "hint"),
    [
        ("error nvmlInitWithFlags 999\n", "is installed but does not answer: Unknown Error", "nvidia-smi"),
        ("error nvmlInitWithFlags 18\n", "was updated while the old one is still loaded", "Restart"),
        ("error nvmlDeviceGetCount_v2 999\n", "is installed but does not answer", "--device cpu"),
    ],
)
def test_driver_that_does_not_answer(nvml_library: Path, fleet: str, message: str, hint: str) -> None:
    inventory = probe(nvml_library, gpus("A10") + fleet)
    assert inventory["error"] == "NoSuitableGPU"
    assert message in inventory["message"]
    assert hint in inventory["hint"]


def test_driver_that_is_not_loaded(nvml_library: Path) -> None:
    inventory = probe(nvml_library, "error nvmlInitWithFlags 9\n")
    assert inventory["gpus"] == []
    assert inventory["absent"] == "the driver is installed, but its kernel module is not loaded"


def test_no_driver(nvml_library: Path) -> None:
    inventory = probe(nvml_library, "", LD_LIBRARY_PATH="")
    if inventory["driver"] is not None:
        pytest.skip("this machine has a driver")
    assert inventory["absent"] == "the driver's library libnvidia-ml.so.1 is not installed"


@pytest.mark.parametrize(
    ("value", "visible", "remarks"),
    [
        ("1,0", [UUIDS[1], UUIDS[0]], 0),
        (f"{UUIDS[2]},GPU-0a", [UUIDS[2], UUIDS[0]], 0),
        ("", [], 1),
        ("0,0", [], 1),
        ("7", [], 1),
    ],
)
def test_cuda_visible_devices_is_applied(nvml_library: Path, value: str, visible: list[str], remarks: int) -> None:
    inventory = probe(nvml_library, gpus("A10", "A10", "A10"), CUDA_VISIBLE_DEVICES=value)
    assert [gpu["uuid"] for gpu in inventory["gpus"]] == visible
    assert len(inventory["hidden"]) == 3 - len(visible)
    assert len(inventory["remarks"]) == remarks


def test_indices_among_different_models(nvml_library: Path) -> None:
    fleet = gpus("T4", "A10")
    assert "PCI_BUS_ID" in probe(nvml_library, fleet, CUDA_VISIBLE_DEVICES="1")["remarks"][0]
    ordered = probe(nvml_library, fleet, CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert ordered["remarks"] == []
    assert [gpu["name"] for gpu in ordered["gpus"]] == ["NVIDIA A10"]


@pytest.mark.parametrize(
    "fleet",
    [
        f"gpu {UUIDS[0]} 0 0 12 1 NVIDIA GB10\nerror nvmlDeviceGetMemoryInfo 3\n",
        f"gpu {UUIDS[0]} 0 0 12 1 NVIDIA GB10\n",
        f"gpu {UUIDS[0]} 0 0 8 7 Orin (nvgpu)\n",
        f"gpu {UUIDS[0]} 1000 900 11 0 NVIDIA Thor\n",
    ],
    ids=["not-supported", "zero", "jetson", "a part"],
)
def test_an_integrated_gpu_has_the_memory_of_the_host(nvml_library: Path, fleet: str) -> None:
    inventory = probe(nvml_library, fleet)
    (gpu,) = inventory["gpus"]
    assert inventory["unusable"] == []
    assert gpu["is_integrated"]
    assert gpu["memory_total_bytes"] == psutil.virtual_memory().total
    assert 0 < gpu["memory_free_bytes"] <= gpu["memory_total_bytes"]


def test_discrete_gpu_has_its_own_memory(nvml_library: Path) -> None:
    (gpu,) = probe(nvml_library, gpus("A10"))["gpus"]
    assert (gpu["is_integrated"], gpu["memory_total_bytes"]) == (False, 23028 << 20)
