"""Whether an event loop is blocked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

LIMIT_SECONDS = 0.5
MAX_SHARE = 0.7
"""Of the time inside the context. What blocks the loop in a test would block it for nearly all of that time.

A limit in seconds would fail on a busy machine, which may not run the loop for a second.
"""


@contextlib.asynccontextmanager
async def never_blocked() -> AsyncIterator[None]:
    """Fail if one step of the running event loop takes more than MAX_SHARE of the time inside this context.

    A step of up to LIMIT_SECONDS is always allowed.
    """
    loop, longest = asyncio.get_running_loop(), 0.0
    began = loop.time()

    async def tick() -> None:
        nonlocal longest
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - before)

    ticking = loop.create_task(tick())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.02)
    finally:
        ticking.cancel()
    assert longest < max(LIMIT_SECONDS, MAX_SHARE * (loop.time() - began))
