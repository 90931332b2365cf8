"""Held requests on their way to the engine: how many at once, and what is left of them."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from maritalk_vllm.engine.vllm_arguments import MIN_QUEUED_REQUESTS
from maritalk_vllm.server.loading import engine_proxy
from maritalk_vllm.server.loading.engine_proxy import EngineProxy
from maritalk_vllm.server.loading.loading_app import LoadingApp
from tests.server.loading.test_loading_app import running
from tests.server.wire import TIMEOUT_SECONDS, until

LIMIT, HELD = 4, 20


class BusyEngine:
    """An API process whose queue holds `LIMIT` requests: it rejects more, as vLLM does."""

    def __init__(self) -> None:
        self.waiting = 0
        self.connections: set[Any] = set()
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.connections.add(tuple(scope["client"]))
        is_full = self.waiting >= LIMIT
        self.waiting += 1
        if not is_full:
            await self.may_answer.wait()
        self.waiting -= 1
        await send({"type": "http.response.start", "status": 503 if is_full else 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_proxy, "MAX_CONNECTIONS", LIMIT)


def test_the_limit_is_the_smallest_queue_of_a_plan() -> None:
    assert engine_proxy.MAX_CONNECTIONS == MIN_QUEUED_REQUESTS == 256


@pytest.mark.usefixtures("limited")
def test_more_held_requests_than_the_queue_has_room_for_are_all_answered() -> None:
    async def scenario() -> None:
        app, engine = LoadingApp(CollectorRegistry()), BusyEngine()
        limits = httpx.Limits(max_connections=HELD)
        async with running(app) as url, running(engine) as engine_url, httpx.AsyncClient(limits=limits) as client:
            asking = [asyncio.create_task(client.post(f"{url}/generate", content=b"{}")) for _ in range(HELD)]
            await asyncio.sleep(0.1)
            app.engine_ready(engine_url)
            await until(lambda: engine.waiting == LIMIT)
            # The client that leaves while its request waits for its turn is forgotten.
            asking.pop().cancel()
            engine.may_answer.set()
            assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * (HELD - 1)
            await app.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("limited")
def test_a_request_whose_client_disconnects_makes_room_for_the_next() -> None:
    async def scenario() -> None:
        app, engine = LoadingApp(CollectorRegistry()), BusyEngine()
        async with running(app) as url, running(engine) as engine_url, httpx.AsyncClient() as client:
            app.engine_ready(engine_url)
            leaving = [asyncio.create_task(client.post(f"{url}/generate", content=b"{}")) for _ in range(LIMIT)]
            await until(lambda: engine.waiting == LIMIT)
            staying = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            assert engine.waiting == LIMIT
            for each in leaving:
                each.cancel()
            await until(lambda: len(engine.connections) == LIMIT + 1)
            engine.may_answer.set()
            assert (await asyncio.wait_for(staying, TIMEOUT_SECONDS)).content == b"done"
            await app.close()

    asyncio.run(scenario())


def test_a_closed_proxy_forwards_nothing() -> None:
    async def scenario() -> None:
        async with running(BusyEngine()) as url:
            proxy = EngineProxy(url)
            await proxy.close()

            async def receive() -> Any:
                return {"type": "http.request", "body": b""}

            async def send(message: Any) -> None:
                raise AssertionError

            scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
            with pytest.raises(RuntimeError, match="closed"):
                await proxy.forward(scope, receive, send)

    asyncio.run(scenario())
