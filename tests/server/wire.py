"""Raw HTTP connections, for incomplete, slow and unusual requests that no client library sends."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60  # a request that is held waits for a whole start
"""Timeout for what takes almost no time, except on a busy machine."""


@dataclass(frozen=True)
class Reply:
    """One response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(
        self, method: str, target: str, *headers: str | bytes, body: bytes = b"", host: str = "localhost"
    ) -> None:
        """Send the head of a request, and `body`, which may be only a part of the request's body."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        encoded = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
        await self.send(b"\r\n".join(encoded) + body)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, to: str = "") -> Reply:
        """Read the next response, which must have a Content-Length. A response to HEAD has no body in any case."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = 0 if to == "HEAD" else int(headers.get("content-length", 0))
            return Reply(int(first.split()[1]), headers, await self._reader.readexactly(length))

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._reader.read()

    async def exactly(self, size: int) -> bytes:
        """Read `size` bytes."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await self._reader.readexactly(size)

    def disconnect(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def wire(url: str, trusted: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A connection to the host and port of `url`, with TLS if `trusted` has an authority for it."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=trusted)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` is true. Raises TimeoutError."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)
