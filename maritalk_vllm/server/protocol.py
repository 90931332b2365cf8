"""HTTP on one connection, for clients that may be slow on purpose."""

from asyncio import BaseTransport, TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 20
"""Longest time for a request's head, from the connection, or from its first byte on one that was used before."""

REST_SECONDS = 20
"""Longest time for the rest of a body whose request was answered before: refused, most often."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own, which waits for ever for a request's head, and for the rest of what it has answered."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Somebody is there."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._begin(HEADER_SECONDS)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begin(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        """The end of a request's head."""
        self._end()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._end()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The end of an answer; its request may go on."""
        super().on_response_complete()
        # With requests sent ahead, the last of them is the cycle here, and its answer has yet to begin.
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._begin(REST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._end()
        super().connection_lost(exc)

    def _begin(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
