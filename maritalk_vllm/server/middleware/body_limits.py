"""A request's body, taken in before anybody works on it: not too long, and not too slowly."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...api.openai_adapter import replay_body
from ...api.request_limits import check_values
from ...errors import BodyTooLarge, BodyTooSlow, RequestError, UnknownEncoding
from ...http import client_limits
from .content_encoding import TAKEN, DecodedTooLarge, decoded, encodings, headers_of


class BodyLimits:
    """ASGI middleware: what is inside gets whole bodies of at most `most_bytes`, and never waits for a slow client.

    They are decoded, without a byte order mark.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read one request's body and pass it on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            length = Headers(raw=scope["headers"]).get("content-length", "0")
            if length.isdecimal() and int(length) > self._most_bytes:
                raise _too_large(self._most_bytes)
            names = encodings(scope["headers"])
            body = await read(receive, self._most_bytes)
            given = body
            if body:
                body = decoded(body, names, self._most_bytes)
                check_values(body)
        except BodyTooLarge as error:
            # The connection stays: closed, it would be reset under whoever sends on, and this answer lost. uvicorn
            # throws away what still comes, and PatientProtocol sees that it does not come for ever.
            await error_response(scope["path"], error)(scope, receive, send)
            return
        except DecodedTooLarge:
            await error_response(scope["path"], _too_large(self._most_bytes, "decoded "))(scope, receive, send)
            return
        except UnknownEncoding as error:
            await error_response(scope["path"], error, {"Accept-Encoding": TAKEN})(scope, receive, send)
            return
        except BodyTooSlow as error:
            await error_response(scope["path"], error, {"Connection": "close"})(scope, receive, send)
            return
        except RequestError as error:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if body is not None:
            if body is not given:
                scope = {**scope, "headers": headers_of(scope["headers"], body)}
            await self._app(scope, replay_body(body, receive), send)


async def read(receive: Receive, most_bytes: int) -> bytes | None:
    """All of a body; None if the client goes away first. Raises BodyTooLarge or BodyTooSlow."""
    body, more, loop = bytearray(), True, asyncio.get_running_loop()
    deadline = loop.time() + client_limits.WHOLE_SECONDS
    while more:
        left = deadline - loop.time()
        try:
            async with asyncio.timeout(min(client_limits.SILENCE_SECONDS, left)):
                message: Message = await receive()
        except TimeoutError:
            seconds = (
                client_limits.SILENCE_SECONDS if left > client_limits.SILENCE_SECONDS else client_limits.WHOLE_SECONDS
            )
            raise BodyTooSlow(f"The request did not arrive within {seconds} s.", "Send it again.") from None
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        more = message.get("more_body", False)
    return bytes(body)


def _too_large(most_bytes: int, how: str = "") -> BodyTooLarge:
    return BodyTooLarge(
        f"The {how}request is longer than {most_bytes:,} bytes, this server's limit.",
        "Send less, or raise --max-body-mb.",
    )
