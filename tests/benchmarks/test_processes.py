"""CPU time of processes, compared with what the kernel reports of a child that has exited."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.processes import cpu_seconds, cpu_times, process_title

BURN = """
import sys, time
while time.process_time() < 0.2:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""
"""Uses 0.2 s of CPU time, and then waits until its stdin is closed."""

LEAST = 0.19
"""A child that runs still may lack the time since a tick."""


@contextmanager
def burning() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        yield process


def test_cpu_time_is_that_of_the_kernel() -> None:
    with burning() as process:
        found = cpu_seconds(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        # Popen would take the usage away by its own wait.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    total = usage.ru_utime + usage.ru_stime
    # The exit of an interpreter takes some more.
    assert LEAST <= found <= total + 0.001
    assert total - found < 5


def test_cpu_time_is_finer_than_proc_has_it() -> None:
    with burning() as process:
        assert round(1e9 * cpu_seconds(process.pid)) % 10_000_000


def test_descendants_count_as_others() -> None:
    before = cpu_times(os.getpid(), os.getpid())
    with burning() as process:
        used = cpu_times(os.getpid(), os.getpid()) - before
        assert used.others >= LEAST
        assert used.api > 0
        of_the_child = cpu_times(os.getpid(), process.pid)
        assert of_the_child.api >= LEAST
        assert of_the_child.others > 0


def test_a_process_that_has_exited_has_no_cpu_time() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(psutil.NoSuchProcess):
        cpu_seconds(process.pid)


@pytest.mark.parametrize(
    ("command", "title"),
    [
        (
            ["/usr/bin/python", "-m", "a.server", "--model", "/home/a/model", "--seed", "1"],
            "python -m a.server --model",
        ),
        (["maritalk-serve http://127.0.0.1:9000"], "maritalk-serve"),
        (["maritalk: serve"], "maritalk: serve"),
        (["a" * 70], "a" * 60),
    ],
)
def test_titles_have_no_paths(command: list[str], title: str) -> None:
    assert process_title(command) == title
