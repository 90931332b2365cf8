"""One model on what this machine has: ours and vLLM's own, one after the other, and what the memory's speed allows."""

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

WIRES = {
    "ours": ("generate", "cloud-stream", "openai-chat-stream"),
    "vLLM's own": ("openai-chat", "openai-chat-stream"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Seconds from exec to ready; bytes of GPU memory, of all of its cards: planned, and taken. None on a CPU."""

    target: str
    ready: float
    planned: int | None
    taken: int | None


async def measure(
    subject: Subject, folder: Path, users: list[int], requests: int, max_tokens: int, rounds: int
) -> tuple[list[Card], list[comparison.Measured]]:
    """Both servers under all loads. A card has room for one of them, so that they are not interleaved."""
    cards, measured = [], []
    for kind in (Ours, VLLM):
        plan = subject.launch(folder).plan
        before = _used(subject.device, len(plan.gpus))
        target = kind(subject, folder)
        try:
            target.wait()
            ready = time.monotonic() - target.began
            measured += await comparison.compare(
                [target], users, requests, max_tokens, rounds, prompt="document", wires=WIRES
            )
            after = _used(subject.device, len(plan.gpus))
        finally:
            target.stop()
        taken = None if before is None or after is None else after - before
        cards.append(Card(target=kind.name, ready=ready, planned=_planned(subject, folder), taken=taken))
    return cards, measured


def bandwidth(device: Device) -> float:
    """Bytes a second that one card, or the processor, reads and writes of its memory, by a copy in torch."""
    command = [sys.executable, "-m", "benchmarks.bandwidth", device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def weights_bytes(subject: Subject, folder: Path) -> int:
    """Read once for each token of a single user."""
    return subject.launch(folder).plan.memory.weights_bytes


def _planned(subject: Subject, folder: Path) -> int | None:
    plan = subject.launch(folder).plan
    return plan.memory.per_gpu_bytes * len(plan.gpus) if plan.gpus else None


def _used(device: Device, cards: int) -> int | None:
    if device is not Device.CUDA or not cards:
        return None
    return sum(gpu.memory_total_bytes - gpu.memory_free_bytes for gpu in probe_hardware(gpus=True).gpus)


def ratios(table: list[comparison.Row], roof: float) -> list[tuple[str, float, str]]:
    """Ours over vLLM's own at each number of users, and over the `roof` of tokens a second that one user can have."""
    by = {(row.target, row.wire, row.users): row for row in table}
    counts = sorted({row.users for row in table})
    alone = by["ours", "generate", counts[0]].tokens_per_second
    return [
        *(
            (
                f"tokens/s at {count}, /generate / vLLM's chat",
                by["ours", "generate", count].tokens_per_second
                / by["vLLM's own", "openai-chat", count].tokens_per_second,
                ">= 1",
            )
            for count in counts
        ),
        (f"tokens/s at {counts[0]} / roof", alone / roof, "as near to 1 as can be"),
    ]
