"""Cancel work when its client disconnects."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from ..errors import RequestError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's `receive`. The body of the request has been read already."""

_Result = TypeVar("_Result")


class ClientDisconnected(RequestError):
    """The client has closed the connection."""


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of `work`. If the client disconnects first, cancel it and raise ClientDisconnected."""
    task = asyncio.current_task()
    assert task is not None
    is_working = True

    def cancel(_: "asyncio.Task[None]") -> None:
        if is_working:
            task.cancel()

    disconnect = asyncio.create_task(_wait_for_disconnect(receive))
    disconnect.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        # As in asyncio.timeout: a cancellation from elsewhere propagates.
        if disconnect.done() and task.uncancel() == 0:
            raise ClientDisconnected("The client has gone.") from None
        raise
    finally:
        is_working = False
        disconnect.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
