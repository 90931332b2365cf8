"""Processes on a host with GPUs: a dead engine is restarted, and none outlives the supervisor."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cuda.host import READY_SECONDS, CudaServer, Host
from tests.server.process.test_process_tree import assert_ends_with_its_supervisor
from tests.server.test_stop import ENGINE
from tests.serving import note, until

pytestmark = pytest.mark.cuda

WORKER, FORK_SERVER = "VLLM::Worker", "maritalk: nursery"


def image(pid: int) -> bytes:
    """What identifies the last exec of a process and of those that forked from it: addresses are new in each."""
    return Path(f"/proc/{pid}/auxv").read_bytes()


def titled(server: CudaServer, title: str) -> list[int]:
    return [pid for pid, line in server.processes().items() if line.startswith(title)]


def test_a_dead_engine_is_restarted_and_no_process_outlives_the_supervisor(
    host: Callable[[str], Host], split_model: Path, tmp_path: Path
) -> None:
    """With two workers below the engine. A restart imports nothing again: the same fork server forks its processes.

    That it takes at most 0.4 of the first start is measured, and not asserted.
    """
    machine = host("2xH100")
    arguments = ("--model", str(split_model), "--tensor-parallel-size", "2")
    server = CudaServer(machine, tmp_path, *arguments)
    try:
        server.wait_until_ready()
        first_seconds = time.monotonic() - server.began
        (fork_server,) = titled(server, FORK_SERVER)
        (engine,) = titled(server, ENGINE)
        assert len(titled(server, WORKER)) == 2
        os.kill(engine, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: server.stdout.read_text().count("Listening on http://") == 2, "ready again", READY_SECONDS)
        restart_seconds = time.monotonic() - killed
        ratio = restart_seconds / first_seconds
        note(f"2 x H100: first start {first_seconds:.1f} s, restart {restart_seconds:.1f} s, {ratio:.2f} of it")
        assert titled(server, FORK_SERVER) == [fork_server]
        restarted = [*titled(server, ENGINE), *titled(server, WORKER)]
        assert len(restarted) == 3 and engine not in restarted
        assert {image(pid) for pid in restarted} == {image(fork_server)}
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).status == 200
        assert_ends_with_its_supervisor(server)
    finally:
        server.stop()
    assert machine.initialised_by() == []


def test_the_next_plan_has_the_measured_kv_cache(
    host: Callable[[str], Host], split_model: Path, tmp_path: Path
) -> None:
    """The worker of the tests says 2 GiB, and the estimate is that of an A100."""
    machine, arguments = host("A100"), ("--model", str(split_model), "--cache-dir", str(tmp_path / "cache"))
    server = CudaServer(machine, tmp_path, *arguments)
    try:
        server.wait_until_ready()
        assert "measured on this host" not in server.stdout.read_text()
        (size,) = (line for line in server.engine_log.read_text().splitlines() if "GPU KV cache size: " in line)
        tokens = size.partition("GPU KV cache size: ")[2].partition(" tokens")[0]
    finally:
        server.stop()
    flags = ("--port", str(server.port), "--", *CudaServer.engine_flags)
    for command in (("maritalk-vllm", "plan"), ("maritalk-vllm", "doctor"), ("maritalk-serve", "--dry-run")):
        planned = machine.run(*command, *arguments, *flags)
        assert f"KV cache: {tokens} tokens, measured on this host on " in planned.stdout, planned.stderr
    other = machine.run("maritalk-vllm", "plan", *arguments, *flags, "--max-num-seqs", "8")
    assert other.returncode == 9
    assert "measured on this host" not in other.stdout
