"""Limits on the size and duration of request bodies, which are read completely before the application runs."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...api.openai_adapter import replay_body
from ...api.request_limits import check_values
from ...batches.upload import is_upload
from ...errors import BodyTooLarge, BodyTooSlow, RequestError, UnknownEncoding
from ...http import client_limits
from .content_encoding import ACCEPTED, DecodedTooLarge, decode, decoded_headers, encodings


class BodyLimits:
    """ASGI middleware that reads and decodes the body, so that the application never waits for a slow client.

    The application gets complete bodies of at most `max_bytes`, without a byte order mark.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of one request and pass the request on, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_upload(scope["method"], scope["path"]):
            await self._pass_upload(scope, receive, send)
            return
        try:
            length = Headers(raw=scope["headers"]).get("content-length", "0")
            if length.isdecimal() and int(length) > self._max_bytes:
                raise _too_large(self._max_bytes)
            names = encodings(scope["headers"])
            raw_body = await read_body(receive, self._max_bytes)
            body = raw_body
            if body:
                body = decode(body, names, self._max_bytes)
                check_values(body)
        except BodyTooLarge as error:
            # Keep the connection open: closing it would reset it for a client that is still sending, which would then
            # lose this response. uvicorn discards the rest of the body, and HttpProtocol limits how long that takes.
            await error_response(scope["path"], error)(scope, receive, send)
            return
        except DecodedTooLarge:
            await error_response(scope["path"], _too_large(self._max_bytes, "decoded "))(scope, receive, send)
            return
        except UnknownEncoding as error:
            await error_response(scope["path"], error, {"Accept-Encoding": ACCEPTED})(scope, receive, send)
            return
        except BodyTooSlow as error:
            await error_response(scope["path"], error, {"Connection": "close"})(scope, receive, send)
            return
        except RequestError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if body is not None:
            if body is not raw_body:
                scope = {**scope, "headers": decoded_headers(scope["headers"], body)}
            await self._app(scope, replay_body(body, receive), send)

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the upload of a file, whose own route reads it piece by piece and limits its size."""
        try:
            if encodings(scope["headers"]):
                raise UnknownEncoding("A file cannot be uploaded in an encoding.", "Send it without Content-Encoding.")
        except UnknownEncoding as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        await self._app(scope, _in_time(receive), send)


def _in_time(receive: Receive) -> Receive:
    """Return a `receive` that raises BodyTooSlow if the next piece of an upload, or its end, does not come in time."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def receive_in_time() -> Message:
        left = began + client_limits.UPLOAD_SECONDS - loop.time()
        seconds = min(client_limits.BODY_IDLE_SECONDS, left)
        try:
            async with asyncio.timeout(seconds):
                return await receive()
        except TimeoutError:
            raise _too_slow(client_limits.UPLOAD_SECONDS if seconds is left else seconds) from None

    return receive_in_time


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """Read a complete body; None if the client disconnects first. Raises BodyTooLarge or BodyTooSlow."""
    body, more, loop = bytearray(), True, asyncio.get_running_loop()
    deadline = loop.time() + client_limits.BODY_SECONDS
    while more:
        left = deadline - loop.time()
        try:
            async with asyncio.timeout(min(client_limits.BODY_IDLE_SECONDS, left)):
                message: Message = await receive()
        except TimeoutError:
            idle = client_limits.BODY_IDLE_SECONDS
            seconds = idle if left > idle else client_limits.BODY_SECONDS
            raise _too_slow(seconds) from None
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def _too_slow(seconds: float) -> BodyTooSlow:
    return BodyTooSlow(f"The request did not arrive within {seconds} s.", "Send it again.")


def _too_large(max_bytes: int, how: str = "") -> BodyTooLarge:
    return BodyTooLarge(
        f"The {how}request is longer than {max_bytes:,} bytes, this server's limit.",
        "Send less, or raise --max-body-mb.",
    )
