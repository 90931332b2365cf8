"""Task cancellation and background threads that do not delay the end of the process, as asyncio's own may."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all are done.

    One cancellation may not be enough: `wait_for` of Python 3.11, which `open_connection` uses, loses one that arrives
    together with its result.
    """
    while pending := [each for each in tasks if not each.done()]:
        for each in pending:
            each.cancel()
        await asyncio.wait(pending, timeout=1)


async def unless_failed(wanted: Coroutine[Any, Any, T], watch: Coroutine[Any, Any, object]) -> T:
    """Return the result of `wanted`; if `watch` fails before, cancel it and raise that error."""
    loop = asyncio.get_running_loop()
    wanted_task, watching = loop.create_task(wanted), loop.create_task(watch)
    try:
        await asyncio.wait((wanted_task, watching), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        return await wanted_task
    finally:
        await cancel_and_wait(wanted_task, watching)


async def run_in_background(call: Callable[[], T]) -> T:
    """Run `call` in a new daemon thread, for which the process does not wait when it exits, unlike asyncio's threads.

    If this is cancelled, the call continues, and its result is dropped.
    """
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001 -- raised by the await below
            future.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await asyncio.wrap_future(future)
