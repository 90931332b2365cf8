"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from ..errors import RequestError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's source of messages, its request's body already read."""

_Result = TypeVar("_Result")


class ClientDisconnected(RequestError):
    """Nobody is left to answer."""


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of `work`, which is cancelled when the client hangs up. Raises ClientGone then."""
    task = asyncio.current_task()
    assert task is not None
    working = True

    def cancel(_: "asyncio.Task[None]") -> None:
        if working:
            task.cancel()

    gone = asyncio.create_task(_disconnect(receive))
    gone.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        # As asyncio.timeout does: what somebody else cancels stays cancelled.
        if gone.done() and task.uncancel() == 0:
            raise ClientDisconnected("The client has gone.") from None
        raise
    finally:
        working = False
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
