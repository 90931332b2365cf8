"""Initialize CUDA in a process of its own, as each of vLLM's workers will, to see what the driver says."""

import subprocess
import sys

_ASK = "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))"

_SECONDS = 60
"""Deadline: on a host with many GPUs whose driver keeps no state between processes, it takes some seconds."""


def cuda_init_error() -> int | None:
    """The error of cuInit by its number in cuda.h, 0 if it succeeds; None if it could not be called or did not return.

    This process stays without CUDA.
    """
    try:
        asked = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = asked.stdout.strip()
    return int(number) if asked.returncode == 0 and number.isdecimal() else None
