"""The host, read from copies of /proc and /sys."""

from pathlib import Path

import pytest

from maritalk_vllm.hardware.host import free_disk_bytes, host

GB = 10**9
TOTAL, AVAILABLE = 64_000_000 * 1024, 60_000_000 * 1024


def machine(root: Path, *, flags: str = "fpu avx2", **files: str) -> Path:
    """Create a root with these files; `__` in their names stands for a slash."""
    content = {
        "proc/meminfo": "MemTotal:       64000000 kB\nMemFree: 1 kB\nMemAvailable:   60000000 kB\nHugePages_Total: 0\n",
        "proc/cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n",
        **{name.replace("__", "/"): text for name, text in files.items()},
    }
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_control_groups(tmp_path: Path) -> None:
    found = host(machine(tmp_path))
    assert (found.memory_total_bytes, found.memory_available_bytes) == (TOTAL, AVAILABLE)
    assert found.memory_limit_bytes is None
    assert found.shared_memory_bytes is None
    assert len(found.cores) >= 1


V2 = {"proc__self__cgroup": "0::/pod/app\n"}
V1 = {"proc__self__cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "limit", "available"),
    [
        ({**V2, "sys__fs__cgroup__pod__app__memory.max": "max\n"}, None, AVAILABLE),
        (
            {
                **V2,
                "sys__fs__cgroup__pod__app__memory.max": f"{8 * GB}\n",
                "sys__fs__cgroup__pod__app__memory.current": f"{3 * GB}\n",
            },
            8 * GB,
            5 * GB,
        ),
        (  # the page cache can be evicted at once
            {
                **V2,
                "sys__fs__cgroup__pod__app__memory.max": f"{8 * GB}\n",
                "sys__fs__cgroup__pod__app__memory.current": f"{7 * GB}\n",
                "sys__fs__cgroup__pod__app__memory.stat": f"anon {GB}\nfile {6 * GB}\n",
            },
            8 * GB,
            7 * GB,
        ),
        (  # the parent group has the lower limit
            {
                **V2,
                "sys__fs__cgroup__pod__app__memory.max": f"{8 * GB}\n",
                "sys__fs__cgroup__pod__memory.max": f"{4 * GB}\n",
                "sys__fs__cgroup__pod__memory.current": f"{GB}\n",
            },
            4 * GB,
            3 * GB,
        ),
        (  # in a container with its own cgroup namespace, the group is the root
            {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__memory.max": f"{6 * GB}\n"},
            6 * GB,
            6 * GB,
        ),
        (  # without its own namespace, the path is the host's, and the mount is the container's group
            {**V2, "sys__fs__cgroup__memory.max": f"{6 * GB}\n"},
            6 * GB,
            6 * GB,
        ),
        (
            {
                **V1,
                "sys__fs__cgroup__memory__docker__abc__memory.limit_in_bytes": f"{2 * GB}\n",
                "sys__fs__cgroup__memory__docker__abc__memory.usage_in_bytes": f"{2 * GB}\n",
                "sys__fs__cgroup__memory__docker__abc__memory.stat": f"cache 1\ntotal_cache {GB}\n",
            },
            2 * GB,
            GB,
        ),
        ({**V1, "sys__fs__cgroup__memory__memory.limit_in_bytes": f"{2 * GB}\n"}, 2 * GB, 2 * GB),
        ({**V1, "sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712\n"}, None, AVAILABLE),
        ({**V1, "sys__fs__cgroup__memory__memory.limit_in_bytes": f"{900 * GB}\n"}, 900 * GB, AVAILABLE),
    ],
    ids=[
        "v2-max",
        "v2",
        "v2-page-cache",
        "v2-nested",
        "v2-namespace",
        "v2-host-path",
        "v1",
        "v1-host-path",
        "v1-unlimited",
        "v1-more-than-there-is",
    ],
)
def test_container_limits(tmp_path: Path, files: dict[str, str], limit: int | None, available: int) -> None:
    found = host(machine(tmp_path, **files))
    assert found.memory_limit_bytes == limit
    assert found.memory_available_bytes == available
    assert found.memory_total_bytes == TOTAL


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fpu avx2 avx512f", False), ("avx512f avx512_bf16", True), ("amx_tile amx_bf16", True), ("", False)],
)
def test_bfloat16_is_fast_if_the_processor_supports_it(tmp_path: Path, flags: str, fast: bool) -> None:
    assert host(machine(tmp_path, flags=flags)).fast_bfloat16 is fast


def test_shared_memory(tmp_path: Path) -> None:
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    found = host(machine(tmp_path)).shared_memory_bytes
    assert found is not None and found > 0


def test_this_machine() -> None:
    found = host()
    assert 0 < found.memory_available_bytes <= found.memory_total_bytes
    assert found.cores


def test_free_space_for_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") == pytest.approx(free_disk_bytes(tmp_path), rel=0.01)


@pytest.mark.parametrize(
    ("meminfo", "total", "available"),
    [
        # Before Linux 3.14, and in some containers: free, buffers and cache, less shared memory.
        ("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\nShmem: 20 kB\n", 1000, 430),
        ("MemTotal: 1000 kB\nMemFree: 100 kB\nCached: 30 kB\nSReclaimable: 10 kB\nShmem: 200 kB\n", 1000, 100),
        ("MemTotal: 1000 kB\nMemFree: 100 kB\n", 1000, 100),
        # LXC shows the container's total, but the host's available memory.
        ("MemTotal: 1000 kB\nMemAvailable: 5000 kB\n", 1000, 1000),
        ("MemTotal:\t1000 kB\nMemAvailable: 400 kB\nnonsense\nHuge: x kB\n: 5 kB\n\n", 1000, 400),
    ],
)
def test_odd_meminfo(meminfo: str, total: int, available: int, tmp_path: Path) -> None:
    found = host(machine(tmp_path, proc__meminfo=meminfo))
    assert (found.memory_total_bytes, found.memory_available_bytes) == (total * 1024, available * 1024)


@pytest.mark.parametrize("files", [{"proc__meminfo": ""}, {"proc__meminfo": "", "proc__cpuinfo": ""}])
def test_without_meminfo(files: dict[str, str], tmp_path: Path) -> None:
    found = host(machine(tmp_path, **files))
    assert 0 < found.memory_available_bytes <= found.memory_total_bytes
    (tmp_path / "proc/meminfo").unlink()
    (tmp_path / "proc/cpuinfo").unlink()
    assert host(tmp_path).memory_total_bytes == found.memory_total_bytes


def test_odd_control_groups(tmp_path: Path) -> None:
    files = {
        "proc__self__cgroup": "nonsense\n0::/app\n",
        "sys__fs__cgroup__app__memory.max": f"{8 * GB}\n",
        "sys__fs__cgroup__app__memory.current": f"{3 * GB}\n",
        "sys__fs__cgroup__app__memory.stat": "odd\nfile many\n",
    }
    assert host(machine(tmp_path, **files)).memory_available_bytes == 5 * GB
