"""asyncio's tasks and threads, where its own ways are not enough to end in time."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """End them, asking anew: `wait_for` of Python 3.11 loses a cancellation that comes with what it awaits."""
    while left := [each for each in tasks if not each.done()]:
        for each in left:
            each.cancel()
        await asyncio.wait(left, timeout=1)


async def in_background(call: Callable[[], T]) -> T:
    """Call it in a daemon thread of its own: the end of the process does not wait for it, as for asyncio's threads.

    If this is cancelled, the call goes on, and its result is dropped.
    """
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 -- raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await asyncio.wrap_future(future)
