"""The phases of the server, and the probes that report them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from maritalk_vllm.server.middleware.probes import Probes
from maritalk_vllm.server.status import server_state
from maritalk_vllm.server.status.server_state import Phase, ServerState
from tests.server.loading.test_loading_app import running

LOADING, READY, DRAINING, FAILED = Phase

ALLOWED = {
    LOADING: {LOADING, READY, DRAINING, FAILED},
    # READY is not followed by READY: a new engine is loaded in between.
    READY: {LOADING, DRAINING, FAILED},
    # A server that drains does not become ready again.
    DRAINING: {DRAINING, FAILED},
    FAILED: {FAILED},
}


@pytest.mark.parametrize("after", Phase)
@pytest.mark.parametrize("before", Phase)
def test_allowed_phase_transitions(before: Phase, after: Phase) -> None:
    now = ServerState(before)
    if after in ALLOWED[before]:
        now.transition_to(after)
        assert now.phase is after
    else:
        with pytest.raises(ValueError, match=f"{before} is never followed by {after}"):
            now.transition_to(after)
        assert now.phase is before


def test_a_phase_has_its_own_duration_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(server_state, "time", SimpleNamespace(monotonic=lambda: clock.now))
    now = ServerState()
    assert (now.phase, now.step, now.seconds) == (LOADING, "", 0)
    now.step = "Importing vLLM"
    clock.now += 5
    # A transition to the same phase does not restart it.
    now.transition_to(LOADING)
    assert (now.step, now.seconds) == ("Importing vLLM", 5)
    now.transition_to(READY)
    assert (now.step, now.seconds) == ("", 0)
    clock.now += 2
    assert now.seconds == 2


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"inside: {scope['method']} {scope['path']}")(scope, receive, send)


@asynccontextmanager
async def probed(now: ServerState) -> AsyncIterator[httpx.AsyncClient]:
    async with running(Probes(inside, now)) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


# A server that is loading or draining is live: an orchestrator must not kill it.
STATUSES = {LOADING: (200, 503), READY: (200, 200), DRAINING: (200, 503), FAILED: (503, 503)}


def test_probes_in_each_phase() -> None:
    async def scenario() -> None:
        now = ServerState()
        async with probed(now) as client:
            for phase, (live, ready) in STATUSES.items():
                now.transition_to(phase)
                statuses = {"/livez": live, "/readyz": ready, "/readyz?verbose": ready, "/health": ready}
                for path, status in statuses.items():
                    answer, head = await client.get(path), await client.head(path)
                    assert (answer.status_code, head.status_code) == (status, status)
                    assert answer.json()["status"] == phase
                    assert head.content == b""
                answer = await client.get("/readyz")
                assert answer.json() == {"status": phase, "phase": phase, "seconds": pytest.approx(0, abs=30)}
                assert answer.headers.get("retry-after") == (None if phase is READY else "1")

    asyncio.run(scenario())


def test_readyz_reports_phase_step_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(server_state, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def scenario() -> None:
        now = ServerState()
        async with probed(now) as client:

            async def report() -> dict[str, object]:
                answer = await client.get("/readyz")
                assert (answer.status_code == 200) is (now.phase is READY)
                return answer.json()

            now.step, clock.now = "Importing vLLM", 1.26
            assert await report() == {"status": "loading", "phase": "Importing vLLM", "seconds": 1.3}
            now.set_step("Loading weights 1/3", 1 / 3)
            expected = {"status": "loading", "phase": "Loading weights 1/3", "seconds": 1.3, "progress": 0.333}
            assert await report() == expected
            now.transition_to(READY)
            assert await report() == {"status": "ready", "phase": "ready", "seconds": 0.0}
            now.transition_to(LOADING)
            clock.now = 3
            now.reloads = 1
            assert await report() == {"status": "loading", "phase": "loading", "seconds": 1.7, "reloads": 1}
            now.reloads = 0
            assert await report() == {"status": "loading", "phase": "loading", "seconds": 1.7}

    asyncio.run(scenario())


def test_all_other_requests_reach_the_application() -> None:
    async def scenario() -> None:
        now = ServerState()
        async with probed(now) as client:
            asked = [("POST", "/livez"), ("OPTIONS", "/readyz"), ("GET", "/livez/"), ("POST", "/health"), ("GET", "/")]
            for phase in Phase:
                now.transition_to(phase)
                for method, path in asked:
                    assert (await client.request(method, path)).text == f"inside: {method} {path}"

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_scope_types_reach_the_application(kind: str) -> None:
    seen: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def never(*_: object) -> Any:
        raise AssertionError

    asyncio.run(Probes(noting, ServerState())({"type": kind, "path": "/livez"}, never, never))
    assert seen == [kind]


def test_a_file_problem_is_reported_and_leaves_the_server_ready() -> None:
    async def scenario() -> None:
        now = ServerState(READY)
        transport = httpx.ASGITransport(Probes(inside, now))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            assert "problems" not in (await client.get("/readyz")).json()
            now.files = {"api_keys": "The file cannot be read.", "certificate": ""}
            answer = await client.get("/readyz")
            assert answer.status_code == 200
            assert answer.json()["problems"] == ["The file cannot be read."]

    asyncio.run(scenario())
