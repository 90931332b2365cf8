"""Connections of a server with a stub engine as one process leaves the port to another, and as it is closed."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.server.wire import Wire, wire
from tests.stub_engine.server import StubServer

BODY = b'{"prompt": "1 2 3", "max_tokens": 2}'
REQUEST = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
A_SECOND = 60
"""Connections that begin in a second."""


class Crowd:
    """Clients that come one after another, each with one request, and what became of them."""

    def __init__(self, port: int, slowest_seconds: float = 0.0) -> None:
        """`slowest_seconds`: how long a client takes at most to send its request, in four pieces."""
        self._url = f"http://127.0.0.1:{port}"
        self._slowest = slowest_seconds
        self._random = random.Random(1)
        self._clients: list[asyncio.Task[str]] = []

    async def come(self, until: Callable[[], bool], at_least: int) -> Counter[str]:
        """So many of them, and on until something is so."""
        while len(self._clients) < at_least or not until():
            self._clients.append(asyncio.create_task(self._one()))
            await asyncio.sleep(1 / A_SECOND)
        return Counter(await asyncio.gather(*self._clients))

    async def _one(self) -> str:
        cuts = sorted(self._random.sample(range(1, len(REQUEST)), 3))
        seconds = self._random.uniform(0, self._slowest)
        try:
            async with wire(self._url) as line:
                for begin, end in zip([0, *cuts], [*cuts, len(REQUEST)], strict=True):
                    if self._slowest:
                        await asyncio.sleep(seconds / 4)
                    await line.send(REQUEST[begin:end])
                return await status(line)
        except ConnectionRefusedError:
            return "refused"
        except (OSError, EOFError) as error:
            return type(error).__name__


async def status(line: Wire) -> str:
    reply = await line.reply()
    return f"{reply.status}, come again" if "retry-after" in reply.headers else str(reply.status)


def test_no_connection_of_a_stub_engine_is_lost(tmp_path: Path) -> None:
    """At the first start, as the engine dies, after the API process has died, and as the server is stopped."""

    async def scenario(server: StubServer) -> None:
        def starts(times: int) -> Callable[[], bool]:
            return lambda: server.stdout.read_text().lower().count("listening") >= times

        assert set(await Crowd(server.port, 2).come(starts(1), at_least=30)) == {"200"}
        async with wire(f"http://127.0.0.1:{server.port}") as idle:
            await idle.send(REQUEST)
            assert await status(idle) == "200"
            engine = server.engine
            killing = asyncio.get_running_loop().call_later(0.5, os.kill, engine, signal.SIGKILL)
            assert set(await Crowd(server.port, 2).come(starts(2), at_least=40)) <= {"200", "503, come again"}
            assert killing.when() < asyncio.get_running_loop().time()
            # The supervisor has it now.
            await idle.send(REQUEST)
            assert await status(idle) == "200"
        os.kill(server.api, signal.SIGKILL)
        server.wait_until_reached("loading", times=3)
        assert server.ask("/", timeout=1).json == {"status": "loading"}
        assert set(await Crowd(server.port).come(starts(3), at_least=1)) == {"200"}

        async with wire(f"http://127.0.0.1:{server.port}") as idle:
            await idle.send(REQUEST)
            assert await status(idle) == "200"
            stopping = asyncio.get_running_loop().call_later(0.3, server.process.send_signal, signal.SIGTERM)
            became = await Crowd(server.port).come(lambda: server.process.poll() is not None, at_least=60)
            assert stopping.when() < asyncio.get_running_loop().time()
            assert set(became) <= {"200", "503, come again", "refused"}
            assert became["503, come again"]
            # No reset: it was closed as a connection is that nobody uses.
            assert await idle.rest() == b""
        assert server.process.returncode == 0

    with StubServer(tmp_path, loading=["wait 1"]) as server:
        server.wait_for_port()
        asyncio.run(scenario(server))


def test_a_start_of_a_stub_engine_that_fails_resets_no_connection(tmp_path: Path) -> None:
    """Nor does the last of too many deaths, when the API process had the port."""

    async def scenario(server: StubServer) -> None:
        os.kill(server.engine, signal.SIGKILL)
        became = await Crowd(server.port).come(lambda: server.process.poll() is not None, at_least=20)
        assert set(became) <= {"200", "503, come again", "refused"}
        assert became["503, come again"]
        assert server.process.returncode == 7

    with StubServer(tmp_path, "--max-restarts", "0") as server:
        server.wait_until_ready()
        asyncio.run(scenario(server))
