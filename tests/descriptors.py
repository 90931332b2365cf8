"""The open descriptors of the test's process."""

import gc
from pathlib import Path


def open_descriptors() -> int:
    """How many there are, without those of objects that earlier tests left to the garbage collector."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))
