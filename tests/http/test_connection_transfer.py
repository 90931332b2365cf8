"""Connections of a process that ends, over raw sockets: transferred with the bytes read, answered, and closed."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.errors import Unavailable
from maritalk_vllm.http.connection_transfer import TransferableProtocol
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.uvicorn_server import WebServer, config
from maritalk_vllm.server.loading.handover_server import HandoverServer
from maritalk_vllm.server.middleware.close_connections import CloseConnections
from maritalk_vllm.server.process.descriptors import Descriptor
from maritalk_vllm.server.process.ipc_channel import Channel
from maritalk_vllm.server.process.process_messages import JOBS, TO_SUPERVISOR, TransferredConnection
from tests.http.test_protocol import echoing, rejecting
from tests.server.wire import until, wire

STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")
MESSAGE = "The server is stopping. Try again in a moment."
REQUEST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
OFFER = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody"
ANSWER = b"POST /a body"


@contextlib.asynccontextmanager
async def serving(app: ASGIApp = echoing) -> AsyncIterator[tuple[WebServer, str]]:
    listener = listen("127.0.0.1", 0)
    server = WebServer(config(app, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server, local_url(listener)
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def adopting(app: ASGIApp = echoing) -> AsyncIterator[HandoverServer]:
    """Run another server, which adopts connections."""
    server = HandoverServer(config(CloseConnections(app), lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listen("127.0.0.1", 0)]))
    try:
        yield server
    finally:
        server.hand_over()
        server.stop(STOPPING)
        await task


async def connection_of(server: WebServer) -> TransferableProtocol:
    await until(lambda: server.server_state.connections)
    (connection,) = server.server_state.connections
    assert isinstance(connection, TransferableProtocol)
    return connection


def transfer(connection: TransferableProtocol, server: HandoverServer) -> None:
    """Transfer a connection through a channel, as the API process does."""
    receiver, sender = Channel.pair(TO_SUPERVISOR, JOBS)
    exported = connection.export()
    assert exported is not None
    descriptor, read = exported
    sender.send(TransferredConnection(socket=Descriptor(descriptor), read=read, is_used=connection.is_used))
    os.close(descriptor)
    connection.detach()
    message = receiver.receive()
    assert isinstance(message, TransferredConnection)
    server.adopt(socket.socket(fileno=message.socket.number), message.read, is_used=message.is_used)
    receiver.close()
    sender.close()


@pytest.mark.parametrize("request_bytes", [REQUEST, OFFER])
@pytest.mark.parametrize("cut", [0, 1, 20, -5, -4, -2])
def test_an_incomplete_request_is_answered_by_another_process(request_bytes: bytes, cut: int) -> None:
    """Cut anywhere from its first byte to two bytes before its end, also after another request on the connection."""
    begins, rest = request_bytes[:cut], request_bytes[cut:]

    async def scenario(*before: bytes) -> None:
        async with serving() as (old, address), adopting() as new, wire(address) as client:
            for request in before:
                await client.send(request)
                assert (await client.reply()).body == ANSWER
            connection = await connection_of(old)
            for byte in begins:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            await until(lambda: connection._incomplete_request == begins)
            assert connection.waits
            assert connection.is_incomplete == bool(begins or not before)
            transfer(connection, new)
            await until(lambda: not old.server_state.connections)
            await client.send(rest)
            reply = await client.reply()
            assert (reply.status, reply.body, reply.headers["connection"]) == (200, ANSWER, "close")
            assert await client.rest() == b""

    asyncio.run(scenario())
    asyncio.run(scenario(REQUEST))


def test_connections_that_cannot_be_transferred() -> None:
    """A long body, a request in the same read as the end of the previous one, one being answered, and TLS."""

    async def scenario() -> None:
        async with serving() as (server, address), wire(address) as client:
            await client.ask("POST", "/a", "Content-Length: 50000", body=b"x" * 40_000)
            connection = await connection_of(server)
            await until(lambda: connection.cycle is not None and connection.cycle.more_body)
            await until(lambda: connection._incomplete_request is None)
            assert connection.waits
            assert connection.export() is None
            await client.send(b"x" * 10_000)
            assert (await client.reply()).status == 200
            await client.send(REQUEST + REQUEST[:10])
            assert (await client.reply()).body == ANSWER
            assert connection.waits
            assert connection.export() is None
            await client.send(REQUEST[10:])
            assert (await client.reply()).body == ANSWER
            exported = connection.export()
            assert exported is not None
            os.close(exported[0])
            connection.scheme = "https"
            assert connection.export() is None

    asyncio.run(scenario())

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass

    async def answered() -> None:
        async with serving(answering) as (server, address), wire(address) as client:
            await client.send(REQUEST)
            connection = await connection_of(server)
            await until(lambda: connection.cycle is not None and connection.cycle.response_started)
            assert (connection.waits, connection.is_incomplete, connection.export()) == (False, False, None)

    asyncio.run(answered())


@pytest.mark.parametrize("cut", [0, 20, -2])
def test_an_incomplete_request_can_be_rejected(cut: int) -> None:
    """The client, which is still sending, reads the complete error, in the format of the requested API if known."""

    async def scenario() -> None:
        async with serving() as (server, address), wire(address) as client:
            connection = await connection_of(server)
            await client.send(REQUEST[:cut].replace(b"/a", b"/v1/models") if cut < 0 else REQUEST[:cut])
            await until(lambda: connection.is_receiving == bool(cut) and (cut >= 0 or connection.cycle is not None))
            connection.reject(STOPPING)
            for byte in REQUEST[cut:]:
                await client.send(bytes([byte]))
                await asyncio.sleep(0.005)
            reply = await client.reply()
            assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "1", "close")
            assert reply.json["error"] == MESSAGE if cut >= 0 else reply.json["error"]["message"] == MESSAGE
            assert await client.rest() == b""

    asyncio.run(scenario())


def test_a_rejected_client_gets_the_response_while_it_is_still_sending() -> None:
    """The kernel responds with a reset to data for a closed socket, which would discard the response."""

    async def scenario() -> None:
        async with serving(rejecting) as (server, address), wire(address) as client:
            await client.ask("POST", "/", "Connection: close", "Content-Length: 1000000000", body=b"x" * 100_000)
            await until(lambda: any(each.transport.is_closing() for each in server.server_state.connections))
            for _ in range(20):
                await client.send(b"x" * 10_000)
                await asyncio.sleep(0.005)
            reply = await client.reply()
            assert (reply.status, reply.body) == (401, b"no")
            assert await client.rest() == b""
            client.disconnect()
            await until(lambda: not server.server_state.connections)

    asyncio.run(scenario())


def test_a_client_that_never_disconnects_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maritalk_vllm.http.client_limits.LINGER_SECONDS", 0.1)

    async def scenario() -> None:
        async with serving() as (server, address), wire(address) as client:
            await client.ask("POST", "/a", "Connection: close", "Content-Length: 4", body=b"body")
            assert (await client.reply()).status == 200
            await until(lambda: not server.server_state.connections)

    asyncio.run(scenario())
