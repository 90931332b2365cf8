"""Repeated `kill -9` of the server's processes under load: each request ends, and the server recovers."""

import os
import random
import re
import signal
import time
from pathlib import Path
from statistics import median

import pytest

from maritalk_vllm.errors import PortError
from maritalk_vllm.http.listener import listen
from tests.chaos.load import Load, Outcome
from tests.counting import samples
from tests.server.test_stop import assert_nothing_left, assert_shared_memory_is_freed, shared_memory
from tests.serving import READY_SECONDS, Server, note, until

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("CHAOS_KILLS", "30"))
VICTIMS = ("maritalk: serve", "VLLM::EngineCore", "VLLM::Worker")
"""The API process, the engine, and the worker."""

HANG_SECONDS = 5
CLIENTS = 8
TOKENS = 24


def processes(server: Server, title: str) -> list[int]:
    return [pid for pid, line in server.processes().items() if line.startswith(title)]


def wait_until_ready(server: Server) -> None:
    until(lambda: server.process.poll() is not None or is_ready(server), "ready", READY_SECONDS)
    assert server.process.poll() is None, server.stderr.read_text()


def is_ready(server: Server) -> bool:
    try:
        return server.ask("/readyz", timeout=HANG_SECONDS).status == 200
    except OSError:
        return False


@pytest.mark.nightly  # by day: test_resume.py, and the stub engine without resumed requests
def test_the_server_recovers_from_repeated_kills(tmp_path: Path, prepared_cache: Path) -> None:
    """With --no-resume-requests: in-flight requests end with an error, at once."""
    before = shared_memory()
    # By default, a single worker has no process of its own.
    workers = ["--", "--distributed-executor-backend", "mp"]
    server = Server(
        tmp_path, "--cache-dir", str(prepared_cache), "--max-restarts", "1000", "--no-resume-requests", *workers
    )
    server.wait_until_ready()
    first = time.monotonic() - server.began
    chance = random.Random(0)
    load = Load(server, CLIENTS, TOKENS)
    times: list[float] = []
    hangs: list[float] = []
    generations: set[int] = set()
    try:
        for number in range(KILLS):
            time.sleep(chance.uniform(0.5, 2))
            (victim,) = processes(server, VICTIMS[number % len(VICTIMS)])
            generation = {pid for title in VICTIMS for pid in processes(server, title)}
            assert not generation & generations
            generations |= generation
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            # The supervisor answers `loading` before the next engine is ready.
            until(lambda: not is_ready(server), "not ready", HANG_SECONDS)
            wait_until_ready(server)
            times.append(time.monotonic() - killed - last_pause(server))
            left = generation & set(server.processes())
            assert not left
            hangs += [
                result.ended - killed
                for result in list(load.results)
                if result.began < killed < result.ended and result.outcome is not Outcome.ANSWERED
            ]
        found = samples(server.ask("/metrics").body.decode())
    finally:
        outcomes = load.stop()
    note(
        f"{KILLS} kills under load: ready again after {median(times):.1f} s (at most {max(times):.1f}) and the pause "
        f"before it; first start {first:.1f} s; requests {dict(outcomes)}; those that a kill ended knew after "
        f"{max(hangs, default=0):.2f} s at most"
    )
    assert found["maritalk_engine_restarts_total", ()] == KILLS
    # Restarts import nothing again.
    steps = {dict(labels)["phase"] for name, labels in found if name == "maritalk_start_seconds"}
    assert steps == {"loading", "warming_up", "ready"}
    assert max(hangs, default=0) < HANG_SECONDS
    assert outcomes[Outcome.ANSWERED] > 0
    assert server.stop() < 30
    assert server.process.returncode == 0
    assert_nothing_left(server)
    assert_shared_memory_is_freed(before)


def last_pause(server: Server) -> float:
    """The last restart delay, in seconds, that the server printed."""
    said = re.findall(r"starting it again (?:now|in (\d+) s)", server.stdout.read_text())
    return float(said[-1] or 0)


@pytest.mark.nightly
def test_no_process_outlives_a_killed_supervisor(tmp_path: Path, prepared_cache: Path) -> None:
    """The kernel ends its descendants, and the port is free."""
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    server.wait_until_ready()
    load = Load(server, 2, TOKENS)
    until(lambda: load.results, "requests in flight")
    killed = time.monotonic()
    server.process.kill()
    server.process.wait()
    until(lambda: not server.processes(), "all processes gone", HANG_SECONDS)
    note(f"the supervisor killed under load: everything ended {time.monotonic() - killed:.2f} s later")
    load.stop()
    # Another program's connection may have this port as its own for a moment.
    until(lambda: is_free(server.port), "the port is free")


def is_free(port: int) -> bool:
    try:
        listen("0.0.0.0", port).close()
    except PortError:
        return False
    return True


@pytest.mark.nightly
def test_a_hung_engine_is_restarted(tmp_path: Path, prepared_cache: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--engine-timeout", "3")
    server.wait_until_ready()
    (victim,) = processes(server, VICTIMS[1])
    load = Load(server, 2, TOKENS)
    try:
        until(lambda: load.results, "requests in flight")
        os.kill(victim, signal.SIGSTOP)
        until(lambda: not is_ready(server), "not ready")
        wait_until_ready(server)
        assert victim not in server.processes()
    finally:
        load.stop()
    assert "The engine hangs" in server.stdout.read_text()
    server.stop()
    assert_nothing_left(server)
