"""The uvicorn server that runs the loading app until the API process takes the port over."""

import socket

import uvicorn

from ...errors import MariTalkError
from ...http.uvicorn_server import WebServer


class HandoverServer(WebServer):
    """After a hand-over it accepts no connection, and stops when the last one that it accepted is closed."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._is_handed_over = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if self._is_handed_over:
            self._close()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop: on request, or after a hand-over when the last connection is closed."""
        return await super().on_tick(counter) or (
            self._is_handed_over and not self.server_state.count and not self._adoptions
        )

    def hand_over(self) -> None:
        """Stop accepting connections; held requests, and those whose head is incomplete, still get their response."""
        self._is_handed_over = True
        self._close()

    @property
    def has_incomplete_requests(self) -> bool:
        """True while a request has not been received completely."""
        return (
            bool(self._adoptions)
            or self.server_state.has_pending
            or any(each.is_incomplete for each in self._connections)
        )

    def stop(self, error: MariTalkError | None) -> None:
        """Stop receiving, and answer incomplete requests with `error`."""
        self.should_exit = True
        for connection in self._connections:
            if error is not None and connection.is_incomplete:
                connection.reject(error)

    def _close(self) -> None:
        for server in self.servers:
            server.close()
