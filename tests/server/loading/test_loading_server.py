"""The port while no engine serves: metrics, held requests, hand-over and stop."""

import asyncio

import httpx
import pytest

from maritalk_vllm.errors import Unavailable
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.server.loading import loading_app
from maritalk_vllm.server.loading.engine_proxy import EngineProxy
from maritalk_vllm.server.loading.loading_server import LoadingServer
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.server.status.startup_timings import StartupStep, StartupTimings
from maritalk_vllm.settings import TimeUnit
from tests.counting import samples
from tests.server.wire import until, wire

REJECTED = ("maritalk_refused_total", (("reason", "loading"),))
LOADING = ("maritalk_server_state", (("maritalk_server_state", "loading"),))
PORT = ("maritalk_start_seconds", (("phase", "port"),))


def test_metrics_report_the_server_and_count_requests_from_0_after_each_restart() -> None:
    async def scenario() -> None:
        listener, state, timings = listen("127.0.0.1", 0), ServerState(), StartupTimings()
        url = local_url(listener)
        loading_server = LoadingServer(listener, AccessConfig(), state, timings, TimeUnit.MILLISECONDS)

        async def metrics() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
            async with httpx.AsyncClient() as client:
                return samples((await client.get(f"{url}/metrics")).text)

        loading_server.start()
        timings.mark_done(StartupStep.PORT)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/v1/models")).status_code == 503
        before = await metrics()
        assert (before[REJECTED], before[LOADING], before[PORT]) == (1, 1, timings.seconds[StartupStep.PORT])
        loading_server.hand_over("http://127.0.0.1:9")
        state.transition_to(Phase.READY)
        # The engine dies.
        timings.reset()
        state.transition_to(Phase.LOADING)
        loading_server.start()
        after = await metrics()
        assert (after[REJECTED], after[LOADING], after["maritalk_engine_restarts_total", ()]) == (0, 1, 1)
        assert PORT not in after
        await loading_server.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_held_request_that_offers_an_upgrade_keeps_its_body(offer: str) -> None:
    async def serve_engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A ready engine: it answers with the body, and with ` upgrade` if the request had an Upgrade header."""
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(7)
        response = body + (b" upgrade" if b"upgrade" in head.lower() else b"")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(response), response))
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        engine = await asyncio.start_server(serve_engine, "127.0.0.1", 0)
        async with wire(local_url(listener)) as connection:
            headers = "Connection: Upgrade", f"Upgrade: {offer}", "Content-Length: 7"
            await connection.ask("POST", "/generate", *headers, body=b'{"a"')
            await connection.send(b":1}")
            loading_server.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            reply = await connection.reply()
            assert (reply.status, reply.body) == (200, b'{"a":1}')
        engine.close()
        await loading_server.stop()

    asyncio.run(scenario())


def test_held_request_is_forwarded_with_its_host_header() -> None:
    """The API process compares it with the Origin header, to accept only the server's own page."""
    heads: list[bytes] = []

    async def serve_engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        access = AccessConfig(allowed_hosts=("chat.example.org",))
        loading_server = LoadingServer(listener, access, ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        engine = await asyncio.start_server(serve_engine, "127.0.0.1", 0)
        async with wire(local_url(listener)) as connection:
            await connection.ask("POST", "/generate", "Content-Length: 0", host="evil.example")
            assert (await connection.reply()).status == 403
        async with wire(local_url(listener)) as connection:
            origin = "Origin: https://chat.example.org"
            await connection.ask("POST", "/generate", origin, "Content-Length: 0", host="chat.example.org")
            loading_server.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            assert (await connection.reply()).status == 200
        (head,) = heads
        assert head.lower().count(b"\r\nhost: ") == 1
        assert b"\r\nhost: chat.example.org\r\n" in head.lower()
        engine.close()
        await loading_server.stop()
        listener.close()

    asyncio.run(scenario())


def test_websocket_is_rejected_while_loading() -> None:
    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        async with wire(local_url(listener)) as connection:
            key = "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
            await connection.ask("GET", "/v1/realtime", "Connection: Upgrade", "Upgrade: websocket", *key)
            reply = await connection.reply()
            assert (reply.status, reply.json["error"]["message"][:27]) == (503, "The model is still loading.")
        await loading_server.stop()

    asyncio.run(scenario())


REQUEST = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n"
STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")


def test_hand_over_waits_for_incomplete_requests() -> None:
    """One connection has sent nothing, one a part of a head, one a part of a body."""

    async def serve_engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + await reader.readexactly(7))
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        loading_server.start()  # has no effect
        engine = await asyncio.start_server(serve_engine, "127.0.0.1", 0)
        address = local_url(listener)
        async with wire(address) as nothing, wire(address) as head, wire(address) as body:
            await head.send(REQUEST[:20])
            await body.send(REQUEST + b'{"a"')
            await asyncio.sleep(0.1)
            loading_server.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            # Longer than the interval at which the server checks whether to stop.
            await asyncio.sleep(0.3)
            await nothing.send(REQUEST + b'{"a":1}')
            await head.send(REQUEST[20:] + b'{"a":1}')
            await body.send(b":1}")
            for connection in (nothing, head, body):
                reply = await connection.reply()
                assert (reply.status, reply.body, reply.headers["connection"]) == (200, b'{"a":1}', "close")
        await until(lambda: not loading_server._servers)
        engine.close()
        await loading_server.stop()

    asyncio.run(scenario())


def test_every_response_closes_its_connection() -> None:
    """Also that of a probe, whose client would otherwise stay connected to the supervisor."""

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        for path in ("/livez", "/readyz", "/metrics", "/", "/chat", "/v1/models"):
            async with wire(local_url(listener)) as connection:
                await connection.ask("GET", path)
                assert b"connection: close" in (await connection.rest()).lower()
        await loading_server.stop()

    asyncio.run(scenario())


def test_stop_answers_every_connected_client() -> None:
    """Each connection gets 503, however much of its request was sent; later ones are refused, and none is reset."""

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        # As after an API process that exits: new connections wait in the listener's queue.
        address = local_url(listener)
        connections = wire(address), wire(address), wire(address), wire(address), wire(address)
        async with (
            connections[0] as nothing,
            connections[1] as head,
            connections[2] as body,
            connections[3] as whole,
            connections[4] as slow,
        ):
            await head.send(REQUEST[:20])
            await slow.send(REQUEST[:20])
            await body.send(REQUEST + b'{"a"')
            await whole.send(REQUEST + b'{"a":1}')
            loading_server.fail(STOPPING)
            loading_server.start()
            ending = asyncio.create_task(loading_server.stop())
            # The server waits for the rest of this request, and answers in the format of its API.
            await asyncio.sleep(0.5)
            await slow.send(REQUEST[20:] + b'{"a":1}')
            reply = await slow.reply()
            assert (reply.status, reply.json) == (503, {"error": "The server is stopping. Try again in a moment."})
            slow.disconnect()
            for connection in (nothing, head, body, whole):
                reply = await connection.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
                assert await connection.rest() == b""
                connection.disconnect()
            await ending
            with pytest.raises(ConnectionRefusedError):
                async with wire(address):
                    pass

    asyncio.run(scenario())


def test_the_client_of_held_requests_is_closed_with_the_last_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[EngineProxy] = []

    class Recorded(EngineProxy):
        async def close(self) -> None:
            closed.append(self)
            await super().close()

    monkeypatch.setattr(loading_app, "EngineProxy", Recorded)

    async def serve_engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        listener = listen("127.0.0.1", 0)
        loading_server = LoadingServer(listener, AccessConfig(), ServerState(), StartupTimings(), TimeUnit.MILLISECONDS)
        loading_server.start()
        engine = await asyncio.start_server(serve_engine, "127.0.0.1", 0)
        async with wire(local_url(listener)) as connection:
            await connection.ask("POST", "/generate", "Content-Length: 0")
            loading_server.hand_over(f"http://127.0.0.1:{engine.sockets[0].getsockname()[1]}")
            assert (await connection.reply()).status == 200
            assert closed == []
        await until(lambda: len(closed) == 1)
        engine.close()
        await loading_server.stop()

    asyncio.run(scenario())
