"""More connections than the limit, over real sockets: silent ones are aborted to make room, others are served."""

import asyncio
import contextlib
import gc
import ssl
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.http import client_limits
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.uvicorn_server import WebServer, config
from tests.http.test_protocol import PLAIN, echoing
from tests.server.wire import Wire, until, wire

MOST = 8
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"


class Busy:
    """An application that answers /wait when `may_continue` is set, and everything else at once."""

    def __init__(self) -> None:
        self.requests = 0
        self.may_continue = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        if scope["path"] == "/wait":
            await self.may_continue.wait()
        await echoing(scope, receive, send)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, most: int = MOST, **options: Any) -> AsyncIterator[tuple[str, WebServer]]:
    listener = listen("127.0.0.1", 0)
    web = config(app, lifespan="off", timeout_keep_alive=60, **options)
    web.limit_concurrency = most
    server = WebServer(web)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield local_url(listener), server
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def open_connections(url: str, number: int, begins: bytes = b"") -> AsyncIterator[list[Wire]]:
    """Open connections one after the other, and send `begins` on each."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            opened.append(await stack.enter_async_context(wire(url)))
            await opened[-1].send(begins)
        yield opened


async def status(url: str, path: str = "/") -> int:
    async with wire(url) as connection:
        await connection.ask("GET", path, "Connection: close")
        return (await connection.reply()).status


SILENT = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
    "idle": PLAIN,
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nx",
}


@pytest.mark.parametrize("begins", SILENT.values(), ids=SILENT)
def test_new_requests_are_answered_despite_many_silent_clients(begins: bytes) -> None:
    async def scenario() -> None:
        async with serving(echoing) as (url, server), open_connections(url, 5 * MOST, begins):
            for _ in range(3):
                assert await status(url) == 200
            assert server.server_state.count <= MOST

    asyncio.run(scenario())


def test_the_longest_silent_connection_is_aborted_first() -> None:
    async def scenario() -> None:
        async with (
            serving(echoing, most=4) as (url, server),
            open_connections(url, 1, SILENT["half a body"]) as (body,),
            open_connections(url, 3) as silent,
        ):
            await until(lambda: server.server_state.count == 4)
            assert await status(url) == 200
            assert await silent[0].rest() == b""
            for connection in (*silent[1:], body):
                await connection.send(b"xxxx" if connection is body else PLAIN)
                assert (await connection.reply()).status == 200

    asyncio.run(scenario())


def test_no_connection_in_use_is_aborted_for_a_new_one() -> None:
    async def scenario() -> None:
        app = Busy()
        async with serving(app, most=3) as (url, server), open_connections(url, 3, WAIT) as busy:
            await until(lambda: app.requests == 3)
            waiting = asyncio.create_task(status(url))
            await asyncio.sleep(0.3)
            assert (app.requests, server.server_state.count) == (3, 3)
            app.may_continue.set()
            assert [(await connection.reply()).status for connection in busy] == [200] * 3
            assert await waiting == 200

    asyncio.run(scenario())


def test_an_unfinished_tls_handshake_makes_room(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    async def scenario() -> None:
        options: dict[str, Any] = {"ssl_certfile": str(tmp_path / "pem"), "ssl_keyfile": str(tmp_path / "pem")}
        async with (
            serving(echoing, **options) as (url, server),
            open_connections(url, 5 * MOST),
            open_connections(url, 9, b"\x16\x03\x01"),
        ):
            port = int(url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
            connection = Wire(reader, writer)
            await connection.ask("GET", "/")
            assert (await connection.reply()).status == 200
            assert server.server_state.count <= MOST
            writer.close()

    asyncio.run(scenario())


def test_accepting_resumes_as_soon_as_a_connection_closes() -> None:
    async def scenario() -> None:
        app = Busy()
        async with serving(app, most=1) as (url, _), open_connections(url, 1, WAIT) as (busy,):
            await until(lambda: app.requests == 1)
            asked = [asyncio.create_task(status(url)) for _ in range(20)]
            await asyncio.sleep(0.05)
            app.may_continue.set()
            assert (await busy.reply()).status == 200
            assert await asyncio.gather(*asked) == [200] * 20

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["close", "keep-alive"])
def test_a_closed_connection_is_freed_without_garbage_collection(ending: str) -> None:
    """A collection is expensive with the many objects of an engine, and would run every few hundred connections."""

    async def scenario() -> None:
        async with serving(echoing) as (url, server):
            async with wire(url) as connection:
                await until(lambda: server.server_state.connections)
                connections = [weakref.ref(each) for each in server.server_state.connections]
                await connection.ask("GET", "/", f"Connection: {ending}")
                assert (await connection.reply()).status == 200
            await until(lambda: not server.server_state.connections)
            await until(lambda: all(each() is None for each in connections))

    gc.disable()
    try:
        uvloop.run(scenario())
    finally:
        gc.enable()


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"v" * 60_000
LARGE = {
    "a long head": HEAD,
    "many fields": b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"X-A: " + b"v" * 690 + b"\r\n") * 90,
    "a short head": HEAD[:20_000],
    "a second request": PLAIN + HEAD,
    "a body that is not read": b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 60_000,
    "requests behind one that is not answered": WAIT * 1000,
}


@pytest.mark.parametrize("begins", LARGE.values(), ids=LARGE)
def test_the_total_of_buffered_bytes_is_limited(begins: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connections that have waited longest are aborted; a short request, equally slow, is answered."""
    monkeypatch.setattr(client_limits, "BUFFERED_BYTES", 600_000)

    async def scenario() -> None:
        app = Busy()
        async with serving(app, most=1000) as (url, server), open_connections(url, 1, PLAIN[:20]) as (slow,):
            state = server.server_state
            most = 0
            async with open_connections(url, 100, begins):
                for _ in range(30):
                    await asyncio.sleep(0.01)
                    most = max(most, state.buffered_bytes)
                    assert state.buffered_bytes == sum(state._buffered.values())
                assert 300_000 < most <= 600_000
                assert state.count < 60
                await slow.send(PLAIN[20:])
                assert (await slow.reply()).status == 200
                app.may_continue.set()
            await until(lambda: state.count == 1)
            assert state.buffered_bytes == 0

    asyncio.run(scenario())


def test_a_body_that_was_read_is_not_counted_as_buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BUFFERED_BYTES", 100_000)

    async def scenario() -> None:
        begins = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60001\r\n\r\n"
        async with serving(echoing) as (url, server), open_connections(url, 6, begins) as slow:
            for connection in slow:
                await connection.send(b"x" * 60_000)
                await asyncio.sleep(0.02)
            for connection in slow:
                await connection.send(b"x")
                assert (await connection.reply()).status == 200
            assert server.server_state.buffered_bytes == 0

    asyncio.run(scenario())
