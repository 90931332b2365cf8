"""A stub engine that dies while the API process lives on: requests wait for the next engine, and are finished by it."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counting import samples
from tests.server.test_stop import assert_nothing_left
from tests.serving import until
from tests.stub_engine.server import StubServer

PROMPT = {"prompt": "1 2 3", "max_tokens": 2}
LASTING = {"prompt": "1 2 3", "max_tokens": 150, "return_usage": True}
LONG = {"prompt": "1 2 3", "max_tokens": 100_000}
KILLED_TWICE = (
    "The engine has died twice while it ran this request, which is not sent to it again. "
    "Change the request; the server's log says why the engine died."
)

NOT_BACK = "The engine has died, and was not back within 1 s. Try again later."


def has_requests(server: StubServer, number: int = 1) -> bool:
    return f"stub_requests_running {float(number)}".encode() in server.ask("/metrics").body


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["engine", "engine_process"])
def test_a_request_is_finished_by_the_next_stub_engine(tmp_path: Path, victim: str) -> None:
    """Meanwhile the API process answers all that needs no engine, and new requests wait."""
    with StubServer(tmp_path, loading=["go", "wait 1.5"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        api, engine = server.api, server.engine
        running = pool.submit(server.ask, "/generate", LASTING)
        streaming = pool.submit(server.ask, "/generate", {**LASTING, "stream": True})
        until(lambda: has_requests(server, 2), "requests in flight")
        kill(getattr(server, victim))
        server.wait_until_reached("loading", times=2)
        assert server.ask("/livez", timeout=1).status == 200
        assert server.ask("/readyz", timeout=1).status == 503
        assert server.ask("/", timeout=1).json == {"status": "loading"}
        waiting = pool.submit(server.ask, "/generate", PROMPT)
        server.wait_until_ready_again()
        assert (waiting.result().status, waiting.result().json["output"]) == (200, "token token")
        answer = running.result()
        assert (answer.status, answer.json["output"].split()) == (200, ["token"] * 150)
        assert answer.json["usage"]["prompt_tokens"] == 3
        *pieces, end = streaming.result().body.decode().removesuffix("\n\n").split("\n\n")
        assert end.startswith("event: end\n")
        # A restart on a busy machine may take long enough for a comment that keeps the connection alive.
        assert sum(not piece.startswith(":") for piece in pieces) == 150
        assert server.api == api
        assert engine not in server.processes()
        found = samples(server.ask("/metrics").body.decode())
        assert found["maritalk_engine_restarts_total", ()] == 1
        steps = {dict(labels)["phase"] for name, labels in found if name == "maritalk_start_seconds"}
        assert steps == {"loading", "warming_up", "ready"}
        assert server.ask("/").json == {"status": "idle"}
        assert server.stop() < 30
        assert server.process.returncode == 0
        assert_nothing_left(server)


@pytest.mark.parametrize("derived", [False, True])
def test_a_request_of_a_hanging_stub_engine_is_finished_by_the_next(tmp_path: Path, derived: bool) -> None:
    """With --engine-timeout, and with the limit that is derived from the steps, whose least value is shorter here."""
    limit = [] if derived else ["--engine-timeout", "1"]
    with StubServer(tmp_path, *limit, step_limit=["1"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        for _ in range(2):  # the steps from the second on are measured
            server.ask("/generate", PROMPT)
        running = pool.submit(server.ask, "/generate", LASTING)
        until(lambda: has_requests(server), "a request in flight")
        hung = server.engine
        os.kill(hung, signal.SIGSTOP)
        assert running.result().status == 200
        assert "The engine hangs: it made no step for " in server.stdout.read_text()
        assert hung not in server.processes()


def test_a_request_that_kills_stub_engines_is_given_up(tmp_path: Path) -> None:
    """After two deaths in a row. Other requests are answered."""
    with StubServer(tmp_path) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        fatal = pool.submit(server.ask, "/generate", LONG)
        until(lambda: has_requests(server), "a request in flight")
        kill(server.engine)
        server.wait_until_ready_again()
        other = pool.submit(server.ask, "/generate", LASTING)
        until(lambda: has_requests(server, 2), "two requests in flight")
        kill(server.engine)
        assert (fatal.result().status, fatal.result().json["error"]) == (503, KILLED_TWICE)
        assert other.result().status == 200
        found = samples(server.ask("/metrics").body.decode())
        assert found["maritalk_refused_total", (("reason", "engine_deaths"),)] == 1


def test_requests_that_wait_for_a_stub_engine_end_with_the_server(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["go", "hang"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        running = pool.submit(server.ask, "/generate", LONG)
        until(lambda: has_requests(server), "a request in flight")
        kill(server.engine)
        server.wait_until_reached("loading", times=2)
        assert server.stop() < 30
        assert running.result().status == 503
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_requests_wait_for_the_next_stub_engine_no_longer_than_the_limit(tmp_path: Path) -> None:
    options = ("--resume-timeout", "1")
    with StubServer(tmp_path, *options, loading=["go", "wait 4", "go"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        api = server.api
        running = pool.submit(server.ask, "/generate", LASTING)
        until(lambda: has_requests(server), "a request in flight")
        kill(server.engine)
        assert (running.result().status, running.result().json["error"]) == (503, NOT_BACK)
        late = server.ask("/generate", PROMPT)
        assert (late.status, late.json["error"]) == (503, NOT_BACK)
        assert late.seconds < 1
        server.wait_until_ready_again()
        assert server.ask("/generate", PROMPT).status == 200
        assert server.api == api


def test_requests_survive_failed_restarts_of_a_stub_engine(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["go", "die", "fail No room.", "go"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        api = server.api
        running = pool.submit(server.ask, "/generate", LASTING)
        until(lambda: has_requests(server), "a request in flight")
        kill(server.engine)
        assert running.result().status == 200
        assert server.api == api
        assert samples(server.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()] == 3


def test_an_api_process_that_dies_while_it_waits_for_a_stub_engine_is_replaced(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["go", "wait 2", "go"]) as server:
        server.wait_until_ready()
        api = server.api
        kill(server.engine)
        server.wait_until_reached("loading", times=2)
        kill(api)
        server.wait_until_ready_again()
        assert server.api != api
        assert server.ask("/generate", PROMPT).status == 200
        began = time.monotonic()
        assert server.ask("/").json == {"status": "idle"}
        assert time.monotonic() - began < 1
