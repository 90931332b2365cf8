"""Simulated machines with GPUs: the real pynvml loads a fake libnvidia-ml.so.1."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MiB = 1 << 20
IDLE = 512 * MiB
"""Memory that the driver reserves on an idle GPU."""

UUIDS = [f"GPU-{index}a5f02c4-8b1d-4e7a-9c{index}3-5d0e6f7a8b{index}c" for index in range(9)]
MIG_UUIDS = [f"MIG-{index}b7e13d5-2c4f-5a8b-8d{index}1-6e1f7a8b9c{index}d" for index in range(4)]

_GPU_MODELS = {
    "A10": (23028, "8 6", "NVIDIA A10"),
    "A100-40GB": (40960, "8 0", "NVIDIA A100-SXM4-40GB"),
    "A100-80GB": (81920, "8 0", "NVIDIA A100-SXM4-80GB"),
    "A6000": (49140, "8 6", "NVIDIA RTX A6000"),
    "B200": (183359, "10 0", "NVIDIA B200"),
    "H100": (81559, "9 0", "NVIDIA H100 80GB HBM3"),
    "H200": (143771, "9 0", "NVIDIA H200"),
    "T4": (15360, "7 5", "Tesla T4"),
}


def gpus(*models: str, free_mib: int | None = None) -> str:
    """Configuration lines for GPUs of these models, idle unless `free_mib` is given."""
    lines = []
    for index, model in enumerate(models):
        total, capability, name = _GPU_MODELS[model]
        free = total * MiB - IDLE if free_mib is None else free_mib * MiB
        lines.append(f"gpu {UUIDS[index]} {total * MiB} {free} {capability} {name}")
    return "\n".join(lines) + "\n"


def links(count: int, level: str) -> str:
    """The same link between all pairs of the first `count` GPUs."""
    return "".join(f"link {one} {other} {level}\n" for one in range(count) for other in range(one))


MIG = (
    gpus("A100-40GB", "A100-40GB")
    + f"mig 1 {MIG_UUIDS[0]} {20 * 10**9} {19 * 10**9} NVIDIA A100-SXM4-40GB MIG 3g.20gb\n"
    + f"mig 1 {MIG_UUIDS[1]} {5 * 10**9} {4 * 10**9} NVIDIA A100-SXM4-40GB MIG 1g.5gb\n"
)


def compile_nvml(folder: Path) -> Path:
    """Compile the library into `folder`, with an empty libcuda.so.1, and return that folder."""
    source = Path(__file__).parent / "nvml.c"
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["cc", *flags, "-o", folder / "libnvidia-ml.so.1", source], check=True)
    # A plan only looks whether the driver's other library can be loaded.
    subprocess.run(["cc", "-shared", "-o", folder / "libcuda.so.1", "-x", "c", os.devnull], check=True)
    return folder


def environment(library: Path, fleet: str, **more: str) -> dict[str, str]:
    """The environment of a process that sees these GPUs. The dynamic loader searches `library` first."""
    file = library / f"fleet-{abs(hash(fleet))}"
    file.write_text(fleet)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
    return {**inherited, "LD_LIBRARY_PATH": str(library), "FAKE_NVML_FLEET": str(file), **more}


_PROBE = """
import dataclasses, json
from maritalk_vllm.errors import MariTalkError
from maritalk_vllm.hardware.probe import probe_hardware
try:
    seen = probe_hardware()
    links = {" ".join(sorted(pair)): link.name for pair, link in seen.links.items()}
    print(json.dumps({**dataclasses.asdict(dataclasses.replace(seen, links={}, host=None)), "links": links}))
except MariTalkError as error:
    print(json.dumps({"error": type(error).__name__, "message": error.message, "hint": error.hint}))
"""


def probe(library: Path, fleet: str, **more: str) -> dict[str, Any]:
    """Probe such a machine in a subprocess; return its inventory, or the error."""
    command = [sys.executable, "-c", _PROBE]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment(library, fleet, **more), timeout=30
    )
    assert result.returncode == 0, result.stderr
    inventory: dict[str, Any] = json.loads(result.stdout)
    return inventory
