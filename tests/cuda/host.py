"""A host with NVIDIA GPUs for vLLM's CUDA build: all is real, except the driver's two libraries and vLLM's worker.

`tests/hardware/nvml.c` answers for NVML, `tests/cuda/libcuda.c` for the driver of CUDA, and `benchmarks/null_worker.py`
computes nothing. The planner, our processes, vLLM's configuration, scheduler, executors and front end are those of
a host with GPUs.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import null_engine
from tests.documents.pages import ROOT
from tests.hardware.fleet import MIG_UUIDS, environment, gpus, links
from tests.serving import Server

VENV = Path(os.environ.get("CUDA_VENV") or ROOT / ".venv" / "cuda")
"""The environment with vLLM's CUDA build and pytest, of requirements/cuda13.lock: `make test-cuda` installs it."""

STEP_MS = 2
"""The time of a step of the engine."""

READY_SECONDS = 600
"""Deadline of a start on a busy machine: the CUDA build takes 35 s of processor time to import, in one process."""

FLEETS = {
    "A100": gpus("A100-80GB"),
    "4xA10": gpus(*["A10"] * 4) + links(4, "20"),
    "2xH100": gpus("H100", "H100") + links(2, "nvlink"),
    "B200": gpus("B200"),
    "MIG": gpus("A10", "A100-40GB")
    + f"mig 1 {MIG_UUIDS[0]} {20 * 10**9} {19 * 10**9} NVIDIA A100-SXM4-40GB MIG 3g.20gb\n"
    + f"mig 1 {MIG_UUIDS[1]} {5 * 10**9} {4 * 10**9} NVIDIA A100-SXM4-40GB MIG 1g.5gb\n",
}
"""Hosts by name: an Ampere, one with PCIe alone, one whose GPUs vLLM joins with FlashInfer, a Blackwell, and one whose
second GPU is in MIG mode."""

_DRIVER = "driver 580.65.06 13000\n"
"""A driver for the CUDA that the lane's torch was built for."""


def compile_driver(folder: Path) -> Path:
    """Compile the driver of CUDA into `folder`, and return that folder."""
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-O1", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(["cc", *flags, "-o", folder / "libcuda.so.1", Path(__file__).parent / "libcuda.c"], check=True)
    return folder


@dataclass(frozen=True, slots=True)
class Host:
    """A host with these GPUs. `record` has a line for each initialisation of CUDA."""

    name: str
    drivers: Path
    record: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process on this host."""
        ours = {
            "FAKE_CUDA_LOG": str(self.record),
            "PYTHONPATH": str(ROOT),
            # The host has no toolkit, even if this machine has one: vLLM then takes more of FlashInfer.
            "CUDA_HOME": str(self.drivers),
            # What vLLM finds out about a model's class, in a process of its own that imports everything, is cached.
            "VLLM_CACHE_ROOT": os.environ.get("VLLM_CACHE_ROOT", str(self.drivers / "vllm")),
        }
        return environment(self.drivers, _DRIVER + FLEETS[self.name], **ours, **more)

    def initialised_by(self) -> list[str]:
        """The command lines of the processes that have initialised CUDA."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [line.partition(" ")[2] for line in lines]

    def run(self, *command: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment with vLLM's CUDA build to its end."""
        program, *arguments = command
        return subprocess.run(
            [VENV / "bin" / program, *arguments],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=READY_SECONDS,
        )


class CudaServer(Server):
    """`maritalk-serve` of the environment with vLLM's CUDA build, on `host`, with the worker that computes nothing.

    `engine`: more flags for vLLM.
    """

    program = (VENV / "bin" / "maritalk-serve",)

    engine_flags = null_engine.flags(step_ms=STEP_MS)
    """The flags for vLLM."""

    def __init__(self, host: Host, folder: Path, *arguments: str, engine: Sequence[str] = ()) -> None:
        self._host_environment = host.environment()
        super().__init__(folder, "--log-file", str(folder / "log"), *arguments, "--", *self.engine_flags, *engine)

    def _start(self, command: Any, **more: Any) -> "subprocess.Popen[Any]":
        marks = {name: more["env"][name] for name in ("SERVER_UNDER_TEST", "SPT_NOENV")}
        return super()._start(command, **{**more, "env": {**self._host_environment, **marks}})

    def wait_until_ready(self) -> None:
        self.wait_for("Listening on http://", READY_SECONDS)

    def counters(self) -> dict[str, float]:
        """The sums of vLLM's counters and gauges, by name."""
        found: dict[str, float] = {}
        for line in self.ask("/metrics").body.decode().splitlines():
            if line.startswith("vllm:") and "_bucket" not in line:
                name = line.partition("{")[0]
                found[name] = found.get(name, 0) + float(line.rpartition(" ")[2])
        return found

    def streamed(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The events of a streamed answer, without the last one, `[DONE]`."""
        text = self.ask(path, {**body, "stream": True, "stream_options": {"include_usage": True}}).body.decode()
        events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        return [json.loads(event) for event in events[:-1]]
