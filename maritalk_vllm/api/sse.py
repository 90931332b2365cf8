"""Answers that come as server-sent events."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ..engine.boot import with_keep_alive
from ..errors import MariTalkError
from .event import event
from .hangup import unless_gone
from .log import note
from .openapi import EVENTS

# Proxies such as nginx would gather the events of a stream otherwise.
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def stream(request: Request, events: AsyncGenerator[str, None], error_key: str) -> Response:
    """The answer that sends these events as they come, with comments where none comes for a while.

    What is wrong with a request shows before its first event, and is raised here. What goes wrong later can only be
    told in an event of the type `error`.
    """
    kept = with_keep_alive(events)
    first = await unless_gone(request.receive, _next(kept))
    return StreamingResponse(_all(first, kept, request, error_key), media_type=EVENTS, headers=_HEADERS)


async def _next(events: AsyncGenerator[str, None]) -> str:
    return await anext(events)


async def _all(
    first: str, rest: AsyncGenerator[str, None], request: Request, error_key: str
) -> AsyncGenerator[str, None]:
    async with contextlib.aclosing(rest):
        yield first
        try:
            async for each in rest:
                yield each
        except MariTalkError as error:
            note(request.scope, error)
            yield event({error_key: str(error)}, "error")
