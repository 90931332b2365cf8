"""Tasks that end when they are asked to, and threads that no end waits for."""

import asyncio
import subprocess
import sys

import pytest

from maritalk_vllm.server.process.async_tasks import cancelled, in_background


def test_a_cancellation_that_was_lost_is_asked_for_again() -> None:
    async def loses_the_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def scenario() -> None:
        tasks = [asyncio.create_task(loses_the_first()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(cancelled(*tasks), 5)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scenario())


def test_the_end_of_a_process_does_not_wait_for_a_call_that_hangs() -> None:
    """As a look at a disk of the network does. `asyncio.run` would wait for its own threads."""
    code = """
import asyncio, threading
from maritalk_vllm.server.process.async_tasks import in_background
async def main():
    assert await in_background(lambda: 7) == 7
    try:
        await asyncio.wait_for(in_background(threading.Event().wait), 0.1)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "given up\n"


def test_what_a_call_raises_is_raised_where_it_is_awaited() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_background(lambda: 1 // 0))
