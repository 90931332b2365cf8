"""The machine around the GPUs: processor, memory, and what a container leaves of them."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_FAST_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
# cgroup v1 writes "no limit" as the largest multiple of a page that a 64-bit integer holds.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Host:
    """`cores` that this process may use, as their numbers; memory in bytes, of RAM and of shared memory (/dev/shm).

    `memory_limit_bytes` is the container's, if it has one; `memory_available_bytes` counts what is left of it too.
    """

    cores: tuple[int, ...]
    cpu_features: frozenset[str]
    memory_total_bytes: int
    memory_available_bytes: int
    memory_limit_bytes: int | None
    shared_memory_bytes: int | None

    @property
    def memory_bound_bytes(self) -> int:
        """The RAM, or the container's limit where that is less."""
        return min(self.memory_total_bytes, self.memory_limit_bytes or self.memory_total_bytes)

    @property
    def fast_bfloat16(self) -> bool:
        """Whether this processor computes in bfloat16 faster than in float32."""
        return bool(_FAST_BFLOAT16 & self.cpu_features)


def host(root: Path = Path("/")) -> Host:
    """This machine, from /proc and /sys; another `root` reads a copy of those from elsewhere."""
    memory = _meminfo(root)
    limits = _limits(root)
    available = memory["MemAvailable"]
    for limit, used in limits:
        available = min(available, max(0, limit - used))
    return Host(
        cores=tuple(sorted(os.sched_getaffinity(0))),
        cpu_features=frozenset(_cpu_flags(root)),
        memory_total_bytes=memory["MemTotal"],
        memory_available_bytes=available,
        memory_limit_bytes=min((limit for limit, _ in limits), default=None),
        shared_memory_bytes=_size(root / "dev/shm"),
    )


def free_disk_bytes(folder: Path) -> int:
    """Free space where `folder` is, or where it would be made."""
    while not _exists(folder) and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except OSError:  # a closed folder on the way, or a name that is too long
        return False


def _size(folder: Path) -> int | None:
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def _meminfo(root: Path) -> dict[str, int]:
    lines = (root / "proc/meminfo").read_text().splitlines()
    return {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":", 1) for line in lines)}


def _cpu_flags(root: Path) -> set[str]:
    for line in (root / "proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):  # x86, Arm
            return set(line.partition(":")[2].split())
    return set()


def _limits(root: Path) -> list[tuple[int, int]]:
    """Each limit on the memory of this process's control groups, and what is used of it without the page cache."""
    found = []
    mounted = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
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
        # In a container the path may be the host's: then the mount shows the container's own group at its top.
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if (size := _number(folder / limit)) is not None and size < _UNLIMITED:
                cached = dict(entry.split() for entry in _lines(folder / "memory.stat")).get(cache, "0")
                found.append((size, max(0, (_number(folder / used) or 0) - int(cached))))
            if folder == top:
                break
    return found


def _number(file: Path) -> int | None:
    text = "".join(_lines(file))
    return int(text) if text.isdigit() else None  # version 2 writes "max" for no limit


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
