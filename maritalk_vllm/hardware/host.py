"""The machine around the GPUs: processor and memory."""

import os
from dataclasses import dataclass
from pathlib import Path

_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True, slots=True)
class Host:
    """`cores` that this process may use; `memory_total_bytes` of RAM; whether bfloat16 is fast on this processor."""

    cores: int
    memory_total_bytes: int
    fast_bfloat16: bool


def host() -> Host:
    """This machine, from /proc."""
    return Host(
        cores=len(os.sched_getaffinity(0)),
        memory_total_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        fast_bfloat16=bool(_FAST_BFLOAT16 & _cpu_flags()),
    )


def _cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):  # x86, Arm
            return set(line.partition(":")[2].split())
    return set()
