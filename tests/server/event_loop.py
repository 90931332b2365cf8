"""Whether an event loop is blocked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

LIMIT_SECONDS = 1.0
"""Generous, for a busy machine. What blocks the loop in a test blocks it for longer."""


@contextlib.asynccontextmanager
async def never_blocked() -> AsyncIterator[None]:
    """Fail if the running event loop is blocked for LIMIT_SECONDS inside this context."""
    loop, longest = asyncio.get_running_loop(), 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - began)

    ticking = loop.create_task(tick())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.02)
    finally:
        ticking.cancel()
    assert longest < LIMIT_SECONDS
