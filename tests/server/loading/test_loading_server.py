"""The port while no engine answers: what it tells of itself, and that each gate counts from 0."""

import asyncio

import httpx
import pytest

from maritalk_vllm.errors import Unavailable
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.server.loading.loading_server import LoadingServer
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.server.status.startup_timings import StartupStep, StartupTimings
from maritalk_vllm.settings import TimeUnit
from tests.counting import samples
from tests.server.wire import until, wire

REFUSED = ("maritalk_refused_total", (("reason", "loading"),))
LOADING = ("maritalk_server_state", (("maritalk_server_state", "loading"),))
PORT = ("maritalk_start_seconds", (("phase", "port"),))


def test_each_gate_tells_of_the_server_and_counts_for_itself() -> None:
    async def scenario() -> None:
        listener, state, history = listen("127.0.0.1", 0), ServerState(), StartupTimings()
        url = local_url(listener)
        answering = LoadingServer(listener, AccessConfig(), state, history, TimeUnit.MILLISECONDS)

        async def told() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
            async with httpx.AsyncClient() as client:
                return samples((await client.get(f"{url}/metrics")).text)

        answering.begin()
        history.done(StartupStep.PORT)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/v1/models")).status_code == 503
        first = await told()
        assert (first[REFUSED], first[LOADING], first[PORT]) == (1, 1, history.seconds["port"])
        answering.hand_over("http://127.0.0.1:9")
        state.to(Phase.READY)
        # The engine has died.
        history.reset()
        state.to(Phase.LOADING)
        answering.begin()
        again = await told()
        assert (again[REFUSED], again[LOADING], again["maritalk_engine_restarts_total", ()]) == (0, 1, 1)
        assert PORT not in again
        await answering.end()

    asyncio.run(scenario())


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_a_request_that_offers_another_protocol_waits_with_its_body(offer: str) -> None:
    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """An engine that is ready: it answers with the body and says whether it was offered anything."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(7)
        answer = body + (b" upgrade" if b"upgrade" in head.lower() else b"")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        answering = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        answering.begin()
        engine = await asyncio.start_server(behind, "127.0.0.1", 0)
        async with wire(local_url(listener)) as line:
            headers = "Connection: Upgrade", f"Upgrade: {offer}", "Content-Length: 7"
            await line.ask("POST", "/generate", *headers, body=b'{"a"')
            await line.send(b":1}")
            answering.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            reply = await line.reply()
            assert (reply.status, reply.body) == (200, b'{"a":1}')
        engine.close()
        await answering.end()

    asyncio.run(scenario())


def test_a_request_that_waits_is_passed_on_with_its_host() -> None:
    """By which the engine's process knows whether a page that asks is the server's own."""
    heads: list[bytes] = []

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        access = AccessConfig(allowed_hosts=("chat.example.org",))
        answering = LoadingServer(listener, access, ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        answering.begin()
        engine = await asyncio.start_server(behind, "127.0.0.1", 0)
        async with wire(local_url(listener)) as line:
            await line.ask("POST", "/generate", "Content-Length: 0", host="evil.example")
            assert (await line.reply()).status == 403
        async with wire(local_url(listener)) as line:
            origin = "Origin: https://chat.example.org"
            await line.ask("POST", "/generate", origin, "Content-Length: 0", host="chat.example.org")
            answering.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            assert (await line.reply()).status == 200
        (head,) = heads
        assert head.lower().count(b"\r\nhost: ") == 1
        assert b"\r\nhost: chat.example.org\r\n" in head.lower()
        engine.close()
        await answering.end()
        listener.close()

    asyncio.run(scenario())


def test_there_is_no_websocket_until_the_engine_is_there() -> None:
    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        answering = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        answering.begin()
        async with wire(local_url(listener)) as line:
            key = "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            await line.ask("GET", "/v1/realtime", "Connection: Upgrade", "Upgrade: websocket", *key)
            reply = await line.reply()
            assert (reply.status, reply.json["error"]["message"][:27]) == (503, "The model is still loading.")
        await answering.end()

    asyncio.run(scenario())


REQUEST = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n"
STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")


def test_a_hand_over_waits_for_requests_that_are_on_their_way() -> None:
    """Nothing of one has come, a part of a head, a part of a body; and one connection was used before."""

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + await reader.readexactly(7))
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        answering = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        answering.begin()
        answering.begin()  # it has begun
        engine = await asyncio.start_server(behind, "127.0.0.1", 0)
        address = local_url(listener)
        async with wire(address) as nothing, wire(address) as head, wire(address) as body:
            await head.send(REQUEST[:20])
            await body.send(REQUEST + b'{"a"')
            await asyncio.sleep(0.1)
            answering.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            # Longer than the server looks whether it may end.
            await asyncio.sleep(0.3)
            await nothing.send(REQUEST + b'{"a":1}')
            await head.send(REQUEST[20:] + b'{"a":1}')
            await body.send(b":1}")
            for line in (nothing, head, body):
                reply = await line.reply()
                assert (reply.status, reply.body, reply.headers["connection"]) == (200, b'{"a":1}', "close")
        await until(lambda: not answering._running)
        engine.close()
        await answering.end()

    asyncio.run(scenario())


def test_every_answer_of_the_gate_ends_its_connection() -> None:
    """A probe, too, whose client would else stay with a process that the engine is no part of."""

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        answering = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        answering.begin()
        for path in ("/livez", "/readyz", "/metrics", "/", "/chat", "/v1/models"):
            async with wire(local_url(listener)) as line:
                await line.ask("GET", path)
                assert b"connection: close" in (await line.rest()).lower()
        await answering.end()

    asyncio.run(scenario())


def test_the_end_answers_everybody() -> None:
    """Whoever is connected reads 503, wherever its request is; whoever comes later is refused, and none is reset."""

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        answering = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        # As after an engine that took the port over: those who came since wait in the queue of the listener.
        address = local_url(listener)
        lines = wire(address), wire(address), wire(address), wire(address), wire(address)
        async with lines[0] as nothing, lines[1] as head, lines[2] as body, lines[3] as whole, lines[4] as slow:
            await head.send(REQUEST[:20])
            await slow.send(REQUEST[:20])
            await body.send(REQUEST + b'{"a"')
            await whole.send(REQUEST + b'{"a":1}')
            answering.refuse(STOPPING)
            answering.begin()
            ending = asyncio.create_task(answering.end())
            # Waited for: it is answered in the form of its API.
            await asyncio.sleep(0.5)
            await slow.send(REQUEST[20:] + b'{"a":1}')
            reply = await slow.reply()
            assert (reply.status, reply.json) == (503, {"error": "The server is stopping. Try again in a moment."})
            slow.disconnect()
            for line in (nothing, head, body, whole):
                reply = await line.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                assert await line.rest() == b""
                line.disconnect()
            await ending
            with pytest.raises(ConnectionRefusedError):
                async with wire(address):
                    pass

    asyncio.run(scenario())
