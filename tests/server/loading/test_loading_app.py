"""The app, over real sockets, in front of a real server that stands for the API process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from prometheus_client import CollectorRegistry, Gauge
from starlette.types import Receive, Scope, Send

from maritalk_vllm.errors import EngineError, Unavailable
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.uvicorn_server import WebServer, config
from maritalk_vllm.server.loading.loading_app import HOLD_SECONDS, LoadingApp


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
    """Answers with what it was asked; knows when a client has gone."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        self.asked.set()
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.gone.set()
            return
        headers = [(b"content-type", b"text/x"), (b"x-asked", scope["raw_path"] + b"?" + scope["query_string"])]
        await send({"type": "http.response.start", "status": 207, "headers": headers})
        for part in (b"one ", b"two ", body):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_status_is_held_for_a_moment_and_then_told() -> None:
    async def scenario() -> None:
        async with running(LoadingApp(CollectorRegistry())) as url, httpx.AsyncClient() as client:
            began = asyncio.get_running_loop().time()
            answer = await client.get(url)
            assert answer.json() == {"status": "loading"}
            assert answer.headers["connection"] == "close"
            assert HOLD_SECONDS <= asyncio.get_running_loop().time() - began < 1
            assert (await client.get(f"{url}/health")).status_code == 503

    asyncio.run(scenario())


def test_its_metrics_are_told_until_an_engine_has_its_own() -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        Gauge("of_the_gate", "x", registry=registry).set(3)
        for outcome in ("failed", "open"):
            app = LoadingApp(registry)
            async with running(app) as url, running(Echo()) as behind, httpx.AsyncClient() as client:
                assert "of_the_gate 3.0" in (await client.get(f"{url}/metrics")).text
                if outcome == "open":
                    app.engine_ready(behind)
                    assert (await client.get(f"{url}/metrics")).headers["x-asked"] == "/metrics?"
                else:
                    app.fail(EngineError("The engine died."))
                    assert "of_the_gate 3.0" in (await client.get(f"{url}/metrics")).text

    asyncio.run(scenario())


def test_what_waited_is_passed_on_whole() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, running(Echo()) as behind, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/a%20b?c=d", content=b"x" * 300_000))
            await asyncio.sleep(0.1)
            assert not posting.done()
            app.engine_ready(behind)
            answer = await posting
            assert answer.status_code == 207
            assert answer.headers["content-type"] == "text/x"
            assert answer.headers["x-asked"] == "/a%20b?c=d"
            assert answer.headers["connection"] == "close"
            assert answer.content == b"one two " + b"x" * len(answer.content[8:])
            # Whoever still has a connection to the app gets the engine's answer too.
            assert (await client.get(url)).status_code == 207

    asyncio.run(scenario())


def test_a_client_that_hangs_up_is_hung_up_on_behind() -> None:
    async def scenario() -> None:
        app, echo = LoadingApp(CollectorRegistry()), Echo()
        async with running(app) as url, running(echo) as behind, httpx.AsyncClient() as client:
            app.engine_ready(behind)
            posting = asyncio.create_task(client.post(f"{url}/wait", content=b"x"))
            await asyncio.wait_for(echo.asked.wait(), 5)
            posting.cancel()
            await asyncio.wait_for(echo.gone.wait(), 5)

    asyncio.run(scenario())


def test_those_who_wait_are_told_when_the_engine_does_not_come() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            app.fail(EngineError("The engine died.", "Look."))
            answer = await posting
            assert answer.status_code == 503
            assert answer.json() == {"error": "The engine died. Look."}
            assert answer.headers["content-type"] == "application/json"

    asyncio.run(scenario())


def test_what_may_take_long_is_told_at_once_to_those_who_wait_and_who_come() -> None:
    async def scenario() -> None:
        app = LoadingApp(CollectorRegistry())
        async with running(app) as url, running(Echo()) as behind, httpx.AsyncClient() as client:
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            app.hold_or_reject(Unavailable("Node 1 is gone.", "Wait."))
            app.hold_or_reject(Unavailable("Waiting for node 1."))
            for answer in (await posting, await client.post(f"{url}/generate", content=b"{}")):
                assert (answer.status_code, answer.json()) == (503, {"error": "Node 1 is gone. Wait."})
                assert answer.headers["retry-after"]
            assert (await client.get(url)).json() == {"status": "loading"}
            app.hold_or_reject(None)
            posting = asyncio.create_task(client.post(f"{url}/generate", content=b"{}"))
            await asyncio.sleep(0.1)
            assert not posting.done()
            app.engine_ready(behind)
            assert (await posting).status_code == 207

    asyncio.run(scenario())
