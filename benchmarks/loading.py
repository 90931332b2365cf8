"""Memory while a checkpoint is loaded: what no file stands behind, and so cannot be given back."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from maritalk_vllm.models.weights_files import weights_files

from .processes import memory_of_family
from .subject import Subject
from .targets import VLLM, Ours

_LOOK_SECONDS = 0.05
KV_CACHE_BYTES, MAX_MODEL_LEN = 64 << 20, 1024
"""Beside the weights the KV cache shall not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """Bytes: of the weights, and of anonymous memory of all processes, at its greatest and once all is ready.

    What processes share is counted once.
    """

    target: str
    weights: int
    peak: int
    ready: int
    seconds: float


def measure(kind: type[Ours] | type[VLLM], subject: Subject, folder: Path) -> Loading:
    """One start of a server with this model."""
    flags = (*subject.flags, "--kv-cache-memory-bytes", str(KV_CACHE_BYTES))
    target = kind(replace(subject, max_model_len=MAX_MODEL_LEN, flags=flags), folder)
    peak = 0
    try:
        while not target.is_ready():
            if target.process.poll() is not None:
                raise RuntimeError(f"{target.name} ended while it started.")
            peak = max(peak, memory_of_family(target.process.pid).anonymous)
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - target.began
        ready = memory_of_family(target.process.pid).anonymous
    finally:
        target.stop()
    return Loading(
        target=target.name,
        weights=sum(file.stat().st_size for file in weights_files(subject.model).files),
        peak=max(peak, ready),
        ready=ready,
        seconds=seconds,
    )
