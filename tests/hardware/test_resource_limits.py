"""Resource limits: raised as far as allowed, never lowered, and reported if too low."""

import json
import resource
import subprocess
import sys

import pytest

from maritalk_vllm.hardware import resource_limits
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.serving import BIN

DEMO = f"--license {EVALUATION_KEY} --device cpu --host 127.0.0.1"
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

RAISED = """
import json, resource, sys
from maritalk_vllm.hardware import resource_limits
from maritalk_vllm.http.uvicorn_server import config
before = tuple(map(int, sys.argv[1:]))
resource.setrlimit(resource.RLIMIT_NOFILE, before)
unraised = config(None)
expected = resource_limits.descriptors()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
resource_limits.raise_descriptors()
assert expected == resource_limits.current_descriptors()
limits = [each.limit_concurrency for each in (unraised, config(None))]
print(json.dumps([*resource.getrlimit(resource.RLIMIT_NOFILE), *limits]))
"""


def limited(limit: str, command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", "-c", f"{limit}; exec {BIN}/{command}"], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, 1024), [1024, 1024, 1, 768]),
        ((1024, 1024), [1024, 1024, 768, 768]),
        ((600, 700), [700, 700, 344, 444]),
    ],
)
def test_file_limit_is_raised_only_on_request(before: tuple[int, int], after: list[int]) -> None:
    """A configuration of a web server changes no limit, and allows as many connections as there may be open files."""
    command = [sys.executable, "-c", RAISED, *map(str, before)]
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == after


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1024, 4096, 4096),
        (1024, 1_048_576, 65_536),
        (1024, resource.RLIM_INFINITY, 65_536),
        (80_000, 100_000, 80_000),
        (1_048_576, 1_048_576, 1_048_576),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY),
    ],
)
def test_file_limit_is_never_lowered(soft: int, hard: int, after: int) -> None:
    assert resource_limits.raised_limit(soft, hard) == after


@pytest.mark.parametrize("command", [f"maritalk-serve --port 0 {DEMO}", f"maritalk-serve --dry-run {DEMO}"])
def test_start_fails_with_too_few_files(command: str) -> None:
    result = limited("ulimit -n 256", command)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "maritalk-serve: This process may have 256 open files, and the server needs at least 512. "
        "Raise the limit with `ulimit -n 65536`, LimitNOFILE of systemd or --ulimit of Docker.\n"
    )


def test_doctor_finds_too_few_files() -> None:
    result = limited("ulimit -n 256", f"maritalk-vllm doctor --port 0 {DEMO}")
    assert result.returncode == 2
    assert "✗ limits" in result.stdout
    assert "This process may have 256 open files, and the server needs at least 512." in result.stdout


def test_few_files_and_little_memory_are_warned_of() -> None:
    result = limited("ulimit -n 600; ulimit -v 8000000", f"maritalk-vllm doctor --port 0 {DEMO}")
    assert result.returncode == 0, result.stdout
    assert "At most 344 connections at once, since this process may have 600 open files." in result.stdout
    assert "This process may have 8.2 GB of address space, and vLLM reserves much more than it uses." in result.stdout
    result = limited("ulimit -Sn 256", f"maritalk-vllm doctor --port 0 {DEMO}")
    assert "limits" not in result.stdout or HARD < 4096


NO_THREADS = """
import os, resource, threading
from maritalk_vllm.errors import EngineError
from maritalk_vllm.hardware import resource_limits
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
for start in (threading.Thread(target=print).start, os.fork):
    try:
        with resource_limits.as_errors():
            start()
    except EngineError as error:
        print(error)
"""


def test_no_more_threads_or_processes() -> None:
    """The kernel does not apply the limit to root, so the test drops its privileges first."""
    result = subprocess.run([sys.executable, "-c", NO_THREADS], capture_output=True, text=True)
    sentence = "This user may start no more threads or processes. Raise the limit: ulimit -u 4096.\n"
    assert (result.stdout, result.stderr) == (2 * sentence, "")
