"""SIGTERM at any moment ends every process. More moments: test_stub_engine_stop.py."""

import contextlib
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving import READY_SECONDS, Answer, Server, note, until

LIMIT_SECONDS = 10
ENGINE = "VLLM::EngineCore"
"""Process title of vLLM's engine."""


def at_once(server: Server) -> None:
    pass


def before_the_port_opens(server: Server) -> None:
    """Wait until our own code runs, which sets the process title."""
    until(lambda: server.processes().get(server.process.pid, "").startswith("maritalk-serve"), "the process's name")


def assert_stops(server: Server, moment: str, number: signal.Signals = signal.SIGTERM) -> None:
    seconds = server.stop(number)
    note(f"{number.name} {moment.replace('_', ' ')}: everything ended {seconds:.2f} s later")
    assert seconds < LIMIT_SECONDS
    assert_nothing_left(server)


def assert_nothing_left(server: Server) -> None:
    with contextlib.suppress(AssertionError):
        until(lambda: not server.processes(), "all processes gone", 1)
    assert server.processes() == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", [at_once, before_the_port_opens])
def test_a_signal_before_the_port_opens_stops_the_server(
    tmp_path: Path, moment: Callable[[Server], None], number: signal.Signals
) -> None:
    server = Server(tmp_path)
    moment(server)
    assert_stops(server, moment.__name__, number)
    assert "Traceback" not in server.stderr.read_text()
    assert not (tmp_path / "cache").exists()


@pytest.mark.engine
@pytest.mark.nightly
def test_sigterm_while_loading_stops_all_processes(tmp_path: Path, prepared_cache: Path) -> None:
    """The engine's process exists, and has not loaded the model yet."""
    before = shared_memory()
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    server.wait_for("Loading the model")
    until(lambda: any(line.startswith(ENGINE) for line in server.processes().values()), "the engine's process")
    assert "Loaded in" not in server.stdout.read_text()
    assert_stops(server, "while loading")
    assert server.process.returncode == 0
    assert_shared_memory_is_freed(before)


@pytest.mark.engine
@pytest.mark.core
def test_an_engine_is_restarted_and_stopped_while_generating(tmp_path: Path, prepared_cache: Path) -> None:
    """The engine after a dead one continues its requests; a stopping one aborts those that exceed the drain timeout."""
    before = shared_memory()
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--time-unit", "s", "--drain-timeout", "2")
    server.wait_until_ready()
    (engine,) = (pid for pid, line in server.processes().items() if line.startswith(ENGINE))
    with ThreadPoolExecutor(4) as pool:
        running = generating(server, pool)
        os.kill(engine, signal.SIGKILL)
        until(lambda: server.stdout.read_text().count("Listening on http://") == 2, "ready again", READY_SECONDS)
        assert engine not in server.processes()
        answer = server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).json
        assert isinstance(answer["generation_time"], float)
        assert 0 < answer["prompt_time"] + answer["generation_time"] < 60
        assert not any(one.done() for one in running)
        assert_stops(server, "while generating")
        assert {one.result().status for one in running} == {503}
    assert server.process.returncode == 0
    assert_shared_memory_is_freed(before)


def generating(server: Server, pool: ThreadPoolExecutor) -> list[Future[Answer]]:
    """In-flight requests that last longer than the test."""
    body = {"prompt": "Era uma vez", "max_tokens": 6000}
    running = [pool.submit(server.ask, "/generate", body, timeout=READY_SECONDS) for _ in "1234"]
    until(lambda: server.ask().json["status"] == "busy", "requests in flight")
    return running


def shared_memory() -> set[Path]:
    """Files in /dev/shm that no process maps: another server may run beside the one under test."""
    used: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            # The files that other tests' processes map may have names in any encoding.
            used.update(re.findall(r"/dev/shm/\S+", maps.read_text(errors="replace")))
    return {path for path in Path("/dev/shm").iterdir() if str(path) not in used}


def assert_shared_memory_is_freed(before: set[Path]) -> None:
    """Another server may create a file at this moment that it has not mapped yet."""
    until(lambda: shared_memory() <= before, "shared memory is freed", seconds=5)
