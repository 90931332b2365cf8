"""SIGTERM at any moment ends every process and leaves none behind."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving import Server, note

LIMIT_SECONDS = 10


def at_once(server: Server) -> None:
    pass


def before_the_port_opens(server: Server) -> None:
    time.sleep(0.15)


def when_the_port_is_open(server: Server) -> None:
    server.wait_for_port()


def while_importing(server: Server) -> None:
    server.wait_for("Importing vLLM")
    time.sleep(1)


MOMENTS = [at_once, before_the_port_opens, when_the_port_is_open, while_importing]


def assert_stops(server: Server, moment: str, number: signal.Signals = signal.SIGTERM) -> None:
    seconds = server.stop(number)
    note(f"{number.name} {moment.replace('_', ' ')}: everything ended {seconds:.2f} s later")
    assert seconds < LIMIT_SECONDS
    assert_nothing_left(server)


def assert_nothing_left(server: Server) -> None:
    deadline = time.monotonic() + 1
    while server.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.processes() == {}


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_while_starting(
    tmp_path: Path, prepared_cache: Path, moment: Callable[[Server], None], number: signal.Signals
) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    moment(server)
    assert_stops(server, moment.__name__, number)
    assert "Traceback" not in server.stderr.read_text()


@pytest.mark.engine
def test_killed_while_starting(tmp_path: Path, prepared_cache: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    while_importing(server)
    server.stop(signal.SIGKILL)
    assert_nothing_left(server)


@pytest.mark.engine
def test_stopped_while_preparing(tmp_path: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(tmp_path / "empty"))
    server.wait_for("Reading the demo model's weights")
    assert_stops(server, "while preparing")
    assert {path.suffix for path in (tmp_path / "empty" / "models").iterdir()} <= {".lock", ".partial"}


@pytest.mark.engine
@pytest.mark.parametrize("seconds", [0, 2, 4])
def test_stopped_while_loading(tmp_path: Path, prepared_cache: Path, seconds: int) -> None:
    before = shared_memory()
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    server.wait_for("Loading the model")
    time.sleep(seconds)
    assert_stops(server, f"{seconds} s into loading")
    assert shared_memory() <= before


@pytest.mark.engine
def test_stopped_while_generating(tmp_path: Path, prepared_cache: Path) -> None:
    before = shared_memory()
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--time-unit", "s", "--drain-timeout", "2")
    server.wait_until_ready()
    answer = server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).json
    assert isinstance(answer["generation_time"], float)
    assert 0 < answer["prompt_time"] + answer["generation_time"] < 60
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(server.ask, "/generate", {"prompt": "Era uma vez", "max_tokens": 6000}) for _ in "1234"]
        while server.ask().json["status"] != "busy":
            time.sleep(0.05)
        assert_stops(server, "while generating")
        assert {one.result().status for one in running} == {503}
    assert server.process.returncode == 0
    assert shared_memory() <= before


def shared_memory() -> set[Path]:
    return set(Path("/dev/shm").iterdir())
