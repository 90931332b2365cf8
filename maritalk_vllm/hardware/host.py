"""The host: cores and memory available to this process, within the limits of its container."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
# cgroup v1 writes "no limit" as the largest multiple of a page that a 64-bit integer holds.
_UNLIMITED = 1 << 60
_MEMINFO = re.compile(r"(\w+):\s+(\d+)(?: kB)?\s*$")


@dataclass(frozen=True, slots=True)
class Host:
    """`cores` are the numbers of the cores that this process may use; RAM and shared memory (/dev/shm) are in bytes.

    `memory_limit_bytes` is the container's limit, if there is one; `memory_available_bytes` is within that limit.
    """

    cores: tuple[int, ...]
    cpu_features: frozenset[str]
    memory_total_bytes: int
    memory_available_bytes: int
    memory_limit_bytes: int | None
    shared_memory_bytes: int | None

    @property
    def memory_bound_bytes(self) -> int:
        """The RAM, or the container's limit if that is lower."""
        return min(self.memory_total_bytes, self.memory_limit_bytes or self.memory_total_bytes)

    @property
    def fast_bfloat16(self) -> bool:
        """Whether this processor computes in bfloat16 faster than in float32."""
        return bool(_FAST_BFLOAT16 & self.cpu_features)


def host(root: Path = Path("/")) -> Host:
    """Read this machine's /proc and /sys; `root` is the folder that holds them."""
    memory = _meminfo(root)
    limits = _limits(root)
    total, available = _memory(memory)
    for limit, used in limits:
        available = min(available, max(0, limit - used))
    return Host(
        cores=tuple(sorted(os.sched_getaffinity(0))),
        cpu_features=frozenset(_cpu_flags(root)),
        memory_total_bytes=total,
        memory_available_bytes=available,
        memory_limit_bytes=min((limit for limit, _ in limits), default=None),
        shared_memory_bytes=_size(root / "dev/shm"),
    )


def free_disk_bytes(folder: Path) -> int:
    """Free space on the disk of `folder`, which need not exist yet."""
    while not _exists(folder) and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a parent folder without permission, or a name that is too long
        return False


def _size(folder: Path) -> int | None:
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def _memory(meminfo: Mapping[str, int]) -> tuple[int, int]:
    """Total and available bytes, even if an old kernel or a container shows only some of the lines."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = meminfo.get("MemTotal") or os.sysconf("SC_PHYS_PAGES") * page
    available = meminfo.get("MemAvailable")
    if available is None and "MemFree" in meminfo:
        # Linux's own estimate before it had MemAvailable: the page cache can be evicted, shared memory cannot.
        cache = sum(meminfo.get(name, 0) for name in ("Buffers", "Cached", "SReclaimable"))
        available = meminfo["MemFree"] + max(0, cache - meminfo.get("Shmem", 0))
    if available is None:
        available = os.sysconf("SC_AVPHYS_PAGES") * page
    return total, min(available, total)


def _meminfo(root: Path) -> dict[str, int]:
    found = (_MEMINFO.match(line) for line in _lines(root / "proc/meminfo"))
    return {line[1]: int(line[2]) * 1024 for line in found if line}


def _cpu_flags(root: Path) -> set[str]:
    for line in _lines(root / "proc/cpuinfo"):
        if line.startswith(("flags", "Features")):  # x86, Arm
            return set(line.partition(":")[2].split())
    return set()


def _limits(root: Path) -> list[tuple[int, int]]:
    """Memory limit and usage, without the page cache, of each of this process's control groups that has a limit."""
    found = []
    mounted = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not path:
            continue
        if not controllers:  # version 2
            top, limit, used, cache = mounted, "memory.max", "memory.current", "file"
        elif "memory" in controllers.split(","):
            top, limit, used, cache = (
                mounted / "memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_cache",
            )
        else:
            continue
        # In a container, the path may be the host's: then the container's own group is at the top of the mount.
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if (size := _number(folder / limit)) is not None and size < _UNLIMITED:
                stat = dict(entry.split(maxsplit=1) for entry in _lines(folder / "memory.stat") if " " in entry.strip())
                cached = stat.get(cache, "0")
                found.append((size, max(0, (_number(folder / used) or 0) - int(cached if cached.isdigit() else 0))))
            if folder == top:
                break
    return found


def _number(file: Path) -> int | None:
    text = "".join(_lines(file))
    return int(text) if text.isdigit() else None  # version 2 writes "max" for no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
