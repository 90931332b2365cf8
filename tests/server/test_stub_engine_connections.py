"""No connection is lost while one process hands the port over to another, or while the server closes it."""

import asyncio
import os
import random
import signal
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.server.wire import Wire, wire
from tests.stub_engine.server import StubServer

BODY = b'{"prompt": "1 2 3", "max_tokens": 2}'
REQUEST = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
PER_SECOND = 60
"""New connections a second."""


class Clients:
    """Clients that connect one after another and send one request each, and how each request ended."""

    def __init__(self, port: int, slowest_seconds: float = 0.0, trusted: ssl.SSLContext | None = None) -> None:
        """`slowest_seconds`: the most time that a client takes to send its request, in four pieces.

        `trusted`: the certificates for HTTPS, None for HTTP.
        """
        self._url = f"http://127.0.0.1:{port}"
        self._trusted = trusted
        self._slowest = slowest_seconds
        self._random = random.Random(1)
        self._clients: list[asyncio.Task[str]] = []

    async def run(self, until: Callable[[], bool], at_least: int) -> Counter[str]:
        """Start at least `at_least` clients, and more until the condition holds; count the outcomes."""
        while len(self._clients) < at_least or not until():
            self._clients.append(asyncio.create_task(self._one()))
            await asyncio.sleep(1 / PER_SECOND)
        return Counter(await asyncio.gather(*self._clients))

    async def _one(self) -> str:
        cuts = sorted(self._random.sample(range(1, len(REQUEST)), 3))
        seconds = self._random.uniform(0, self._slowest)
        try:
            async with wire(self._url, self._trusted) as connection:
                for begin, end in zip([0, *cuts], [*cuts, len(REQUEST)], strict=True):
                    if self._slowest:
                        await asyncio.sleep(seconds / 4)
                    await connection.send(REQUEST[begin:end])
                return await status(connection)
        except ConnectionRefusedError:
            return "refused"
        except (OSError, EOFError) as error:
            return type(error).__name__


async def status(connection: Wire) -> str:
    reply = await connection.reply()
    return f"{reply.status}, retry later" if "retry-after" in reply.headers else str(reply.status)


def test_restarts_and_stop_of_a_stub_engine_lose_no_connection(tmp_path: Path) -> None:
    """At the first start, when the engine dies, when the API process dies, and when the server is stopped."""

    async def scenario(server: StubServer) -> None:
        def starts(times: int) -> Callable[[], bool]:
            return lambda: server.stdout.read_text().lower().count("listening") >= times

        assert set(await Clients(server.port, 2).run(starts(1), at_least=30)) == {"200"}
        async with wire(f"http://127.0.0.1:{server.port}") as idle:
            await idle.send(REQUEST)
            assert await status(idle) == "200"
            engine = server.engine
            killing = asyncio.get_running_loop().call_later(0.5, os.kill, engine, signal.SIGKILL)
            assert set(await Clients(server.port, 2).run(starts(2), at_least=40)) <= {"200", "503, retry later"}
            assert killing.when() < asyncio.get_running_loop().time()
            # The supervisor has the connection now.
            await idle.send(REQUEST)
            assert await status(idle) == "200"
        os.kill(server.api, signal.SIGKILL)
        server.wait_until_reached("loading", times=3)
        assert server.ask("/", timeout=1).json == {"status": "loading"}
        assert set(await Clients(server.port).run(starts(3), at_least=1)) == {"200"}

        async with wire(f"http://127.0.0.1:{server.port}") as idle:
            await idle.send(REQUEST)
            assert await status(idle) == "200"
            stopping = asyncio.get_running_loop().call_later(0.3, server.process.send_signal, signal.SIGTERM)
            outcomes = await Clients(server.port).run(lambda: server.process.poll() is not None, at_least=60)
            assert stopping.when() < asyncio.get_running_loop().time()
            assert set(outcomes) <= {"200", "503, retry later", "refused"}
            assert outcomes["503, retry later"]
            # The idle connection was closed, not reset.
            assert await idle.rest() == b""
        assert server.process.returncode == 0

    with StubServer(tmp_path, loading=["wait 1"]) as server:
        server.wait_for_port()
        asyncio.run(scenario(server))


def test_a_stub_engine_that_fails_for_good_resets_no_connection(tmp_path: Path) -> None:
    """With --max-restarts 0, and the port with the API process."""

    async def scenario(server: StubServer) -> None:
        os.kill(server.engine, signal.SIGKILL)
        outcomes = await Clients(server.port).run(lambda: server.process.poll() is not None, at_least=20)
        assert set(outcomes) <= {"200", "503, retry later", "refused"}
        assert outcomes["503, retry later"]
        assert server.process.returncode == 7

    with StubServer(tmp_path, "--max-restarts", "0") as server:
        server.wait_until_ready()
        asyncio.run(scenario(server))
