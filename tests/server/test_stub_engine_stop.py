"""A stub engine that is stopped or killed at any moment of its start: all processes end within the limit."""

import contextlib
import http.client
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from maritalk_vllm.server.process.engine_manager import STOP_SECONDS
from tests.server.test_stop import LIMIT_SECONDS, assert_nothing_left, assert_stops
from tests.server.test_stub_engine_restart import ANSWER_SECONDS
from tests.stub_engine.server import StubServer


def as_the_port_opens(server: StubServer) -> None:
    server.wait_for_port()


def while_importing(server: StubServer) -> None:
    server.wait_until_reached("importing")


def while_preparing(server: StubServer) -> None:
    server.wait_until_reached("preparing")


def while_loading(server: StubServer) -> None:
    server.wait_until_reached("loading")


def while_warming_up(server: StubServer) -> None:
    server.wait_until_reached("warming_up")


def when_ready(server: StubServer) -> None:
    server.wait_until_ready()


HANGS: dict[Callable[[StubServer], None], dict[str, Sequence[str]]] = {
    as_the_port_opens: {},
    while_importing: {"importing": ["hang"]},
    while_preparing: {"preparing": ["hang"]},
    while_loading: {"loading": ["hang"]},
    while_warming_up: {"warming_up": ["hang"]},
    when_ready: {},
}
"""Script of the stub engine that makes the moment last."""


# Both signals have the same handler, which is installed before the port opens.
@pytest.mark.parametrize(
    ("moment", "number"),
    [(as_the_port_opens, signal.SIGINT), (while_importing, signal.SIGINT), *((each, signal.SIGTERM) for each in HANGS)],
)
def test_a_stub_engine_is_stopped_at_any_moment(
    tmp_path: Path, moment: Callable[[StubServer], None], number: signal.Signals
) -> None:
    with StubServer(tmp_path, **HANGS[moment]) as server:
        moment(server)
        assert_stops(server, f"{moment.__name__} of a stub engine", number)
        assert server.process.returncode == 0
        assert server.stderr.read_text() == ""
        stopping, stopped = server.stdout.read_text().splitlines()[-2:]
        assert stopping.endswith("] Stopping: requests in flight have up to 30 s.")
        assert stopped.endswith("] Server stopped.")
        models = tmp_path / "cache" / "models"
        if moment is while_preparing:
            assert {path.suffix for path in models.iterdir()} == {".lock", ".partial"}


@pytest.mark.parametrize("moment", [while_importing, while_loading, when_ready])
def test_no_process_of_a_stub_engine_outlives_a_killed_supervisor(
    tmp_path: Path, moment: Callable[[StubServer], None]
) -> None:
    with StubServer(tmp_path, **HANGS[moment]) as server:
        moment(server)
        server.stop(signal.SIGKILL)
        assert_nothing_left(server)


def test_a_leaked_process_of_a_stub_engine_ends_with_the_server(tmp_path: Path) -> None:
    """A process in a session of its own, without a parent-death signal, which no signal of a terminal reaches."""
    with StubServer(tmp_path, loading=["leak"]) as server:
        server.wait_until_ready()
        assert server.pid_of("sleep 600")
        assert_stops(server, "with a process that a stub engine has leaked")


def when_the_engine_has_died(server: StubServer) -> None:
    server.wait_until_ready()
    os.kill(server.engine, signal.SIGKILL)


def while_starting_again(server: StubServer) -> None:
    when_the_engine_has_died(server)
    server.wait_until_reached("loading", 2)


@pytest.mark.parametrize(
    "moment",
    [as_the_port_opens, while_importing, while_loading, when_ready, when_the_engine_has_died, while_starting_again],
)
def test_two_signals_at_once_stop_a_stub_engine(tmp_path: Path, moment: Callable[[StubServer], None]) -> None:
    """From an impatient user, or from a terminal and a service manager. The first is not handled yet at the second."""
    with StubServer(tmp_path) as server:
        moment(server)
        server.process.send_signal(signal.SIGINT)
        assert_stops(server, f"twice at once, {moment.__name__} of a stub engine", signal.SIGINT)
        assert server.process.returncode == 0
        assert "Traceback" not in server.stderr.read_text() + server.engine_log.read_text()


def test_a_second_signal_ends_a_stub_engine_that_ignores_the_first(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["ignore-sigterm"]) as server:
        server.wait_until_reached("loading")
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_draining()
        assert server.process.poll() is None
        assert_stops(server, "for the second time, with a stub engine that ignored it")


def test_the_supervisor_answers_while_a_second_signal_kills_a_stub_engine(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["leave-tracker; ignore-sigterm"]) as server:
        server.wait_until_reached("loading")
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_draining()
        server.process.send_signal(signal.SIGTERM)
        longest = 0.0
        with contextlib.suppress(OSError):  # the port is closed at the end
            while True:
                longest = max(longest, server.ask("/livez").seconds)
        assert longest < ANSWER_SECONDS
        server.process.wait(LIMIT_SECONDS)
        assert_nothing_left(server)


def test_a_server_without_requests_is_draining_until_the_next_one_has_its_port(tmp_path: Path) -> None:
    """As a client's `stop_server` and `start_server`, one right after the other."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with StubServer(folders[0], "--drain-timeout", "0", stopping=["hang"]) as first:
        first.wait_until_ready()
        first.process.send_signal(signal.SIGTERM)
        first.wait_until_draining()
        with StubServer(folders[1], "--port", str(first.port)) as second:
            second.port = first.port
            statuses = set()
            while first.process.poll() is None:
                with contextlib.suppress(OSError, http.client.HTTPException):  # the port is closed at the end
                    statuses.add(str(first.ask("/").json["status"]))
            assert "draining" in statuses
            assert statuses <= {"draining", "loading", "idle"}
            second.wait_until_ready()
            assert second.stderr.read_text() == (
                f"Port {first.port} is in use by a maritalk-serve that is stopping, process {first.process.pid}. "
                "Waiting for its end.\n"
            )


def test_a_stub_engine_that_does_not_exit_is_killed(tmp_path: Path) -> None:
    """After --drain-timeout and STOP_SECONDS."""
    with StubServer(tmp_path, "--drain-timeout", "0", stopping=["hang"]) as server:
        server.wait_until_ready()
        assert STOP_SECONDS <= server.stop() < STOP_SECONDS + LIMIT_SECONDS
        assert_nothing_left(server)
        assert server.process.returncode == 0
