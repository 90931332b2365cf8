"""The HTTP server of the gate: it ends when the last connection that it has accepted ends."""

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import MariTalkError
from ...http.connection_transfer import TransferableProtocol
from ...http.uvicorn_server import WebServer


class HandoverServer(WebServer):
    """It lets the gate answer until the API process takes the port over, and then those that were connected before."""

    def __init__(self, web: uvicorn.Config) -> None:
        super().__init__(web)
        self._is_parting = False
        self._listens = asyncio.Event()
        self._adopting: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self._listens.set()
        if self._is_parting:
            self._close()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: after the last connection, and when told to."""
        return await super().on_tick(counter) or (
            self._is_parting and not self.server_state.count and not self._adopting
        )

    def adopt(self, connection: socket.socket, read: bytes, *, is_used: bool) -> None:
        """Take a connection that was accepted elsewhere, of which this much was read."""
        task = asyncio.get_running_loop().create_task(self._adopt(connection, read, is_used=is_used))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def hand_over(self) -> None:
        """Accept no more, at once; requests that wait in the gate go on, and those whose head is still to come."""
        self._is_parting = True
        self._close()

    @property
    def waits(self) -> bool:
        """Whether a request is still on its way."""
        return (
            bool(self._adopting)
            or self.server_state.has_pending
            or any(each.is_incomplete for each in self._connections)
        )

    def end(self, error: MariTalkError | None) -> None:
        """Wait for no more requests: answer those that are still on their way."""
        self.should_exit = True
        for connection in self._connections:
            if error is not None and connection.is_incomplete:
                connection.reject(error)

    async def _adopt(self, connection: socket.socket, read: bytes, *, is_used: bool) -> None:
        await self._listens.wait()
        protocol: Any = TransferableProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            already_read=read,
            is_used=is_used,
        )
        self.server_state.count += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)
        except OSError:  # the client has gone
            connection.close()
        finally:
            if protocol.transport is None:
                self.server_state.connection_closed()

    def _close(self) -> None:
        for server in self.servers:
            server.close()


class Closing:
    """ASGI middleware: every answer ends its connection, since the next request is for another process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, the last of its connection."""

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_last)
