"""Anonymous memory while a checkpoint is loaded: no file backs it, so the kernel cannot reclaim it."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from maritalk_vllm.models.weights_files import weights_files

from .processes import process_tree_memory
from .subject import Subject
from .targets import VLLM, Ours

_POLL_SECONDS = 0.05
KV_CACHE_BYTES, MAX_MODEL_LEN = 64 << 20, 1024
"""Bytes and tokens, so few that the KV cache is negligible beside the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Bytes of the weights, and of the anonymous memory of all processes: the peak, and once the server is ready.

    Shared pages count once.
    """

    target: str
    weights: int
    peak: int
    ready: int
    seconds: float


def measure(target_class: type[Ours] | type[VLLM], subject: Subject, folder: Path) -> Loading:
    """Start a server with this model once and sample its memory."""
    flags = (*subject.flags, "--kv-cache-memory-bytes", str(KV_CACHE_BYTES))
    target = target_class(replace(subject, max_model_len=MAX_MODEL_LEN, flags=flags), folder)
    peak = 0
    try:
        while not target.is_ready():
            if target.process.poll() is not None:
                raise RuntimeError(f"{target.name} ended while it started.")
            peak = max(peak, process_tree_memory(target.process.pid).anonymous)
            time.sleep(_POLL_SECONDS)
        seconds = time.monotonic() - target.started
        ready = process_tree_memory(target.process.pid).anonymous
    finally:
        target.stop()
    return Loading(
        target=target.name,
        weights=sum(file.stat().st_size for file in weights_files(subject.model).files),
        peak=max(peak, ready),
        ready=ready,
        seconds=seconds,
    )
