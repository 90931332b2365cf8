"""SIGTERM at any moment ends every process and leaves none behind."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.serving import Server

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
    assert server.stop(number) < LIMIT_SECONDS
    assert_nothing_left(server)
    assert "Traceback" not in server.stderr.read_text()


@pytest.mark.engine
def test_killed_while_starting(tmp_path: Path, prepared_cache: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    while_importing(server)
    server.stop(signal.SIGKILL)
    assert_nothing_left(server)


@pytest.mark.engine
def test_stopped_while_preparing_and_loading_and_generating(tmp_path: Path, prepared_cache: Path) -> None:
    arguments = ["--cache-dir", str(prepared_cache), "--time-unit", "s"]
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    (tmp_path / "3").mkdir()

    server = Server(tmp_path / "1", "--cache-dir", str(tmp_path / "empty"))
    server.wait_for("Reading the demo model's weights")
    assert server.stop() < LIMIT_SECONDS
    assert_nothing_left(server)
    assert not [path for path in (tmp_path / "empty" / "models").iterdir() if path.suffix == ""]

    server = Server(tmp_path / "2", *arguments)
    server.wait_for("Loading the model")
    time.sleep(1)
    assert server.stop() < LIMIT_SECONDS
    assert_nothing_left(server)

    before = set(Path("/dev/shm").iterdir())
    server = Server(tmp_path / "3", *arguments)
    server.wait_until_ready()
    answer = server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).json
    assert isinstance(answer["generation_time"], float)
    assert 0 < answer["prompt_time"] + answer["generation_time"] < 60
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(server.ask, "/generate", {"prompt": "Era uma vez", "max_tokens": 6000}) for _ in "1234"]
        while server.ask().json["status"] != "busy":
            time.sleep(0.05)
        assert server.stop() < LIMIT_SECONDS
        # Cut off by the stop: answered with an error, or hung up on, but not left waiting.
        assert all(one.exception() or one.result().status in (200, 500, 503) for one in running)
    assert server.process.returncode == 0
    assert_nothing_left(server)
    assert set(Path("/dev/shm").iterdir()) <= before
