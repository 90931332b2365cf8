"""The uvicorn server of an API process."""

import asyncio
import socket

import uvicorn

from ...errors import Unavailable
from ...http.connection_transfer import TransferableProtocol
from ...http.uvicorn_server import WebServer
from ..status.startup_timings import StartupStep, StartupTimings
from .descriptors import Descriptor
from .process_messages import Leaving, Ready, ReportChannel, TransferredConnection

INCOMPLETE_REQUEST_SECONDS = 2.0
"""How long to wait for a request on a connection that cannot be transferred: the rest of one when this process ends, or
the first one of a new connection when it is retired."""

_CONNECTION_POLL_SECONDS = 0.02

_EXITING = Unavailable("This server's process is ending.", "Try again in a moment.")


class ApiServer(WebServer):
    """Reports when it starts and stops listening, and on shutdown transfers its connections to the supervisor."""

    def __init__(
        self,
        server_config: uvicorn.Config,
        channel: ReportChannel,
        timings: StartupTimings,
        ready: Ready,
        *,
        waits: bool,
    ) -> None:
        """`ready`: the message to send once the port is open, or, if this `waits`, can be opened by `open_port`."""
        super().__init__(server_config)
        self._ready = ready
        self._may_listen = asyncio.Event()
        if not waits:
            self._may_listen.set()
        self._left_at: float | None = None
        self._channel = channel
        self._timings = timings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and report it; or report that it could, and wait for `open_port`."""
        if self._may_listen.is_set():
            await super().startup(sockets)
            self._report_ready()
        else:
            self._report_ready()
            await self._may_listen.wait()
            await super().startup(sockets)

    def open_port(self) -> None:
        """Start listening, if this has waited with it."""
        self._may_listen.set()

    def stop(self) -> None:
        """Shut down, also while the port is not open."""
        self.should_exit = True
        self._may_listen.set()

    def _report_ready(self) -> None:
        self._timings.mark_done(StartupStep.WARMING_UP)
        self._timings.mark_done(StartupStep.READY)
        self._channel.send(self._ready)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, report it, and transfer the connections on which no whole request has arrived."""
        self.stop_listening()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + INCOMPLETE_REQUEST_SECONDS
        # Poll at least once: the connection that was accepted last appears after the next iteration of the event loop,
        # a TLS connection after its handshake.
        while True:
            await asyncio.sleep(_CONNECTION_POLL_SECONDS)
            remaining = self.transfer_connections()
            has_incomplete = any(each.is_incomplete for each in remaining) or self.server_state.has_pending
            if loop.time() > deadline or not has_incomplete:
                break
        self.close_waiting()
        await super().shutdown(sockets)

    def close_waiting(self) -> None:
        """Reject the requests that are incomplete, and close idle connections: no other request can begin."""
        for connection in self._connections:
            if connection.is_incomplete:
                connection.reject(_EXITING)
            elif connection.waits:
                connection.shutdown()

    @property
    def expects_requests(self) -> bool:
        """Whether a request is not answered yet, or the first one may arrive on a connection that is new.

        An idle connection does not count, since its client may not send another request.
        """
        assert self._left_at is not None
        may_begin = asyncio.get_running_loop().time() < self._left_at + INCOMPLETE_REQUEST_SECONDS
        return self.server_state.has_pending or any(
            each.has_request or (may_begin and each.is_incomplete) for each in self._connections
        )

    def stop_listening(self) -> None:
        """Stop listening, and report it the first time."""
        if self._left_at is None:
            self._left_at = asyncio.get_running_loop().time()
            self._channel.send(Leaving(self._ready.index))
        for server in self.servers:
            server.close()

    def transfer_connections(self) -> list[TransferableProtocol]:
        """Transfer the connections on which no whole request has arrived; return those that cannot be transferred."""
        return [each for each in self._connections if each.waits and not self._transfer(each)]

    def _transfer(self, connection: TransferableProtocol) -> bool:
        """Transfer a connection to the supervisor. False if it cannot be transferred."""
        if (exported := connection.export()) is None:
            return False
        descriptor, read = exported
        duplicate = Descriptor(descriptor)
        try:
            self._channel.send(TransferredConnection(socket=duplicate, read=read, is_used=connection.is_used))
        except OSError:
            return False
        finally:
            duplicate.close()
        connection.detach()
        return True
