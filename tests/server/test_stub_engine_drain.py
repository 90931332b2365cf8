"""Draining a stub engine: in-flight requests finish, new ones are rejected, --drain-timeout is observed."""

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.server.test_stop import assert_nothing_left
from tests.service_manager import service_manager
from tests.serving import Answer, until
from tests.stub_engine.engine import STEP_SECONDS
from tests.stub_engine.launcher import RUNNING
from tests.stub_engine.server import StubServer

LONG = {"prompt": "1 2 3", "max_tokens": 100_000}


def lasting(seconds: float) -> dict[str, object]:
    """A request that takes at least this long."""
    return {"prompt": "1 2 3", "max_tokens": int(seconds / STEP_SECONDS)}


def in_flight(server: StubServer, pool: ThreadPoolExecutor, *bodies: dict[str, object]) -> list[Future[Answer]]:
    """Send requests, and wait until the engine runs them all."""
    running = [pool.submit(server.ask, "/generate", body) for body in bodies]
    text = f"{RUNNING} {float(len(bodies))}".encode()
    until(lambda: text in server.ask("/metrics").body, f"{len(bodies)} requests in flight")
    return running


@pytest.mark.core
def test_a_draining_stub_engine_finishes_its_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New requests, probes and the service manager learn that the server stops."""
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with (
        service_manager(str(tmp_path / "notify")) as manager,
        StubServer(tmp_path) as server,
        ThreadPoolExecutor() as pool,
    ):
        server.wait_until_ready()
        (running,) = in_flight(server, pool, lasting(2))
        engine = server.engine
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_draining()
        late = server.ask("/generate", lasting(0.1))
        assert (late.status, late.json["error"]) == (503, "The server is stopping. Try again in a moment.")
        assert late.headers["retry-after"]
        assert (server.ask("/readyz").status, server.ask("/livez").status) == (503, 200)
        assert server.ask("/").json == {"status": "draining"}
        assert engine in server.processes()
        assert not running.done()
        assert running.result().status == 200
        assert server.process.wait(timeout=30) == 0
        assert_nothing_left(server)
        messages = manager.received()
        # Twice as often as WATCHDOG_USEC requires, from start to end.
        watchdog = [each for each in messages if each == "WATCHDOG=1"]
        assert len(watchdog) >= 2 / 0.3
        *_, last = (each for each in messages if each not in watchdog)
        assert last == "STOPPING=1\nSTATUS=Finishing what runs"


def test_the_drain_timeout_of_a_stub_engine_aborts_the_rest(tmp_path: Path) -> None:
    with StubServer(tmp_path, "--drain-timeout", "1.5") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        short, long = in_flight(server, pool, lasting(0.8), LONG)
        seconds = server.stop()
        assert short.result().status == 200
        assert (long.result().status, long.result().json["error"]) == (
            503,
            "The server is stopping, and does not wait for this request any longer. Send it again.",
        )
        assert 1.5 <= seconds < 8
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_a_second_signal_stops_a_draining_stub_engine_at_once(tmp_path: Path) -> None:
    with StubServer(tmp_path, "--drain-timeout", "60") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        (running,) = in_flight(server, pool, LONG)
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_draining()
        assert server.process.poll() is None
        assert server.stop() < 5
        assert running.exception() is not None
        assert_nothing_left(server)


def test_a_stub_engine_that_dies_while_draining_is_not_restarted(tmp_path: Path) -> None:
    with StubServer(tmp_path, "--drain-timeout", "60") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        (running,) = in_flight(server, pool, LONG)
        engine = server.engine
        server.process.send_signal(signal.SIGTERM)
        server.wait_until_draining()
        os.kill(engine, signal.SIGKILL)
        assert running.result(timeout=30).status == 503
        assert server.process.wait(timeout=30) == 0
        assert len(server.reached("loading")) == 1
        assert_nothing_left(server)
