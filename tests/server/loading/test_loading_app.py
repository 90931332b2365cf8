"""The loading app over real sockets, in front of a real server that stands for the API process."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from maritalk_vllm.errors import EngineError, Unavailable
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.uvicorn_server import WebServer, config
from maritalk_vllm.server.loading.loading_app import HOLD_SECONDS, LoadingApp
from tests.server.event_loop import never_blocked


@contextlib.asynccontextmanager
async def running(app: object) -> AsyncIterator[str]:
    listener = listen("127.0.0.1", 0)
    server = WebServer(config(app, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield local_url(listener)
    finally:
        server.should_exit = True
        await task


class Echo:
    """Answers with the request that it received; records a client's disconnect."""

    def __init__(self) -> None:
        self.received = asyncio.Event()
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.received.set()
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.disconnected.set()
            return
        headers = [
            (b"content-type", b"text/x"),
            (b"x-request-target", scope["raw_path"] + b"?" + scope["query_string"]),
        ]
        await send({"type": "http.response.start", "status": 207, "headers": headers})
        for part in (b"one ", b"two ", body):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_loading_status_is_returned_after_a_short_hold() -> None:
    async def scenario() -> None:
        async with running(LoadingApp(CollectorRegistry())) as url, httpx.AsyncClient() as client:
            start = asyncio.get_running_loop().time()
            response = await client.get(url)
            assert response.json() == {"status": "loading"}
            assert response.headers["connection"] == "close"
            assert HOLD_SECONDS <= asyncio.get_running_loop().time() - start < 1
            assert (await client.get(f"{url}/health")).status_code == 503

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(5))
def test_a_held_status_is_cancelled_even_while_the_engine_becomes_ready(steps: int) -> None:
    """`wait_for` of Python 3.11 loses a cancellation that arrives together with the result."""

    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        scope = {"type": "http", "method": "GET", "path": "/"}
        client = Silent()
        asking = asyncio.create_task(app(scope, client.receive, client.send))
        await asyncio.sleep(0.01)
        app.engine_ready("http://127.0.0.1:1")
        for _ in range(steps):
            await asyncio.sleep(0)
        assert asking.cancel()
        await asyncio.wait((asking,), timeout=5)
        assert asking.cancelled()

    asyncio.run(scenario())


class Silent:
    """A client that neither sends nor reads."""

    async def receive(self) -> MutableMapping[str, Any]:
        return await asyncio.get_running_loop().create_future()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.receive()


def test_metrics_are_served_until_the_engine_serves_its_own() -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        Gauge("of_the_loading_app", "x", registry=registry).set(3)
        for outcome in ("failed", "ready"):
            app = LoadingApp(registry)
            async with running(app) as url, running(Echo()) as engine, httpx.AsyncClient() as client:
                assert "of_the_loading_app 3.0" in (await client.get(f"{url}/metrics")).text
                if outcome == "ready":
                    app.engine_ready(engine)
                    assert (await client.get(f"{url}/metrics")).headers["x-request-target"] == "/metrics?"
                else:
                    app.fail(EngineError("The engine died."))
                    assert "of_the_loading_app 3.0" in (await client.get(f"{url}/metrics")).text

    asyncio.run(scenario())


class SlowCollector(Collector):
    """Metrics that take three seconds to collect."""

    def collect(self) -> Iterator[Metric]:
        time.sleep(3)
        yield GaugeMetricFamily("slow", "x", 1)


def test_slow_metrics_do_not_block_the_event_loop() -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        registry.register(SlowCollector())
        async with running(LoadingApp(registry)) as url, httpx.AsyncClient() as client, never_blocked():
            assert "slow 1.0" in (await client.get(f"{url}/metrics")).text

    asyncio.run(scenario())


def test_held_request_is_forwarded_completely() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, running(Echo()) as engine, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/a%20b?c=d", content=b"x" * 300_000))
            await asyncio.sleep(0.1)
            assert not posting.done()
            app.engine_ready(engine)
            response = await posting
            assert response.status_code == 207
            assert response.headers["content-type"] == "text/x"
            assert response.headers["x-request-target"] == "/a%20b?c=d"
            assert response.headers["connection"] == "close"
            assert response.content == b"one two " + b"x" * 300_000
            # A later request on the loading app is forwarded too.
            assert (await client.get(url)).status_code == 207

    asyncio.run(scenario())


def test_client_disconnect_is_forwarded_to_the_engine() -> None:
    async def scenario() -> None:
        app, echo = LoadingApp(CollectorRegistry()), Echo()
        async with running(app) as url, running(echo) as engine, httpx.AsyncClient() as client:
            app.engine_ready(engine)
            posting = asyncio.create_task(client.post(f"{url}/wait", content=b"x"))
            await asyncio.wait_for(echo.received.wait(), 5)
            posting.cancel()
            await asyncio.wait_for(echo.disconnected.wait(), 5)

    asyncio.run(scenario())


def test_held_request_is_answered_when_the_engine_fails() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            app.fail(EngineError("The engine died.", "Look."))
            response = await posting
            assert response.status_code == 503
            assert response.json() == {"error": "The engine died. Look."}
            assert response.headers["content-type"] == "application/json"

    asyncio.run(scenario())


def test_status_of_a_server_that_stops_is_draining() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, httpx.AsyncClient() as client:
            app.fail(Unavailable("The server is stopping."), is_draining=True)
            response = await client.get(url)
            assert (response.status_code, response.json()) == (200, {"status": "draining"})
            assert response.headers["connection"] == "close"
            for response in (await client.post(url), await client.get(f"{url}/v1/models")):
                assert response.status_code == 503

    asyncio.run(scenario())


def test_held_and_new_requests_are_rejected_while_the_wait_is_long() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, running(Echo()) as engine, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            app.hold_or_reject(Unavailable("Node 1 is gone.", "Wait."))
            app.hold_or_reject(Unavailable("Waiting for node 1."))
            for response in (await posting, await client.post(f"{url}/generate", content=b"{}")):
                assert (response.status_code, response.json()) == (503, {"error": "Node 1 is gone. Wait."})
                assert response.headers["retry-after"]
            assert (await client.get(url)).json() == {"status": "loading"}
            app.hold_or_reject(None)
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            assert not posting.done()
            app.engine_ready(engine)
            assert (await posting).status_code == 207

    asyncio.run(scenario())
