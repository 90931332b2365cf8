"""One model on this machine's GPUs: our server, then vLLM's own, compared with the limit of the memory bandwidth."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from maritalk_vllm.hardware.probe import probe_hardware
from maritalk_vllm.settings import Device

from . import compare as comparison
from .subject import Subject
from .targets import VLLM, Ours

API_FORMAT_NAMES = {
    "ours": ("generate", "cloud-stream", "openai-chat-stream"),
    "vLLM's own": ("openai-chat", "openai-chat-stream"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemoryUse:
    """Seconds from exec to ready; GPU memory of all its GPUs in bytes, planned and measured. None on a CPU."""

    target: str
    ready: float
    planned: int | None
    taken: int | None


async def measure(
    subject: Subject, folder: Path, users: list[int], requests: int, max_tokens: int, rounds: int
) -> tuple[list[GpuMemoryUse], list[comparison.Measured]]:
    """Run all loads on both servers, one after the other, since a GPU has no memory for both."""
    memory_use, measured = [], []
    for target_class in (Ours, VLLM):
        plan = subject.launch(folder).plan
        before = _used(subject.device, len(plan.gpus))
        target = target_class(subject, folder)
        try:
            target.wait()
            ready = time.monotonic() - target.started
            measured += await comparison.compare(
                [target],
                [comparison.Shape(count, "document", max_tokens) for count in users],
                requests,
                lambda found: bool(found) and found[-1].round >= rounds,
                API_FORMAT_NAMES,
            )
            after = _used(subject.device, len(plan.gpus))
        finally:
            target.stop()
        taken = None if before is None or after is None else after - before
        memory_use.append(
            GpuMemoryUse(target=target_class.name, ready=ready, planned=_planned(subject, folder), taken=taken)
        )
    return memory_use, measured


def bandwidth(device: Device) -> float:
    """Memory bandwidth of one GPU or the processor in bytes/s, measured with a torch copy (reads plus writes)."""
    command = [sys.executable, "-m", "benchmarks.bandwidth", device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def weights_bytes(subject: Subject, folder: Path) -> int:
    """Bytes of weights, which are read once for each token of a single user."""
    return subject.launch(folder).plan.memory.weights_bytes


def _planned(subject: Subject, folder: Path) -> int | None:
    plan = subject.launch(folder).plan
    return plan.memory.per_gpu_bytes * len(plan.gpus) if plan.gpus else None


def _used(device: Device, gpus: int) -> int | None:
    if device is not Device.CUDA or not gpus:
        return None
    return sum(gpu.memory_total_bytes - gpu.memory_free_bytes for gpu in probe_hardware(gpus=True).gpus)


def ratios(table: list[comparison.Row], roof: float) -> list[tuple[str, float, str]]:
    """Our throughput over vLLM's own at each number of users, and one user's over `roof`, the limit in tokens/s."""
    by_load = {(row.target, row.wire, row.shape.users): row for row in table}
    counts = sorted({row.shape.users for row in table})
    single_user = by_load["ours", "generate", counts[0]].tokens_per_second
    return [
        *(
            (
                f"tokens/s at {count}, /generate / vLLM's chat",
                by_load["ours", "generate", count].tokens_per_second
                / by_load["vLLM's own", "openai-chat", count].tokens_per_second,
                ">= 1",
            )
            for count in counts
        ),
        (f"tokens/s at {counts[0]} / roof", single_user / roof, "as near to 1 as can be"),
    ]
