"""Cancel a part of the current task's work: because its client disconnects, or because the server ends it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from starlette.types import Receive, Scope

from ..errors import RequestError
from .disconnect_callbacks import DISCONNECT

_Result = TypeVar("_Result")


class ClientDisconnected(RequestError):
    """The client has closed the connection."""


class Cancellation:
    """A context manager whose body can be cancelled, with no task of its own: `asyncio.timeout` without the clock.

    A cancelled body ends with the `with` statement, unless it completes in spite of that. A cancellation of the task
    from elsewhere propagates.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._requests = 0
        self._others = 0

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._others = self._task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        assert task is not None
        # As in asyncio.timeout: the cancellation is ours if no other request for one remains.
        for _ in range(self._requests):
            task.uncancel()
        return bool(self._requests) and kind is asyncio.CancelledError and task.cancelling() <= self._others

    def cancel(self) -> None:
        """Cancel the body, from outside of the task, or do it again. No effect before and after the body."""
        if self._task is not None:
            self._requests += 1
            self._task.cancel()


async def cancel_on_disconnect(scope: Scope, receive: Receive, work: Awaitable[_Result]) -> _Result:
    """Return the result of `work`. If the client disconnects first, cancel it and raise ClientDisconnected.

    `scope` and `receive` are those of a request whose body has been read.
    """
    with Cancellation() as cancellation, _on_disconnect(scope, receive, cancellation.cancel):
        return await work
    raise ClientDisconnected("The client has gone.")


@contextmanager
def _on_disconnect(scope: Scope, receive: Receive, callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` if the client disconnects during the body. Without DisconnectCallbacks, a task waits for that."""
    if (callbacks := scope.get(DISCONNECT)) is not None:
        callbacks.add(callback)
        try:
            yield
        finally:
            callbacks.remove(callback)
        return
    disconnect = asyncio.ensure_future(_wait_for_disconnect(receive))
    disconnect.add_done_callback(lambda task: None if task.cancelled() else callback())
    try:
        yield
    finally:
        disconnect.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
