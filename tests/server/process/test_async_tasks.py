"""Task cancellation, and background threads that do not delay the end of a process."""

import asyncio
import subprocess
import sys

import pytest

from maritalk_vllm.server.process.async_tasks import cancel_and_wait, run_in_background, unless_failed


def test_a_lost_cancellation_is_repeated() -> None:
    async def ignores_first_cancellation() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def scenario() -> None:
        tasks = [asyncio.create_task(ignores_first_cancellation()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(cancel_and_wait(*tasks), 5)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scenario())


async def fails() -> None:
    raise KeyError


async def returns() -> int:
    return 7


async def hangs() -> int:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_task_is_waited_for_unless_another_fails() -> None:
    async def scenario() -> None:
        assert await unless_failed(returns(), hangs()) == 7
        with pytest.raises(KeyError):
            await unless_failed(hangs(), fails())
        with pytest.raises(KeyError):
            await unless_failed(returns(), fails())
        with pytest.raises(KeyError):
            await unless_failed(fails(), hangs())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_a_process_exits_while_a_background_call_hangs() -> None:
    """A check of a network disk may hang so. `asyncio.run` would wait for its own threads."""
    code = """
import asyncio, threading
from maritalk_vllm.server.process.async_tasks import run_in_background
async def main():
    assert await run_in_background(lambda: 7) == 7
    try:
        await asyncio.wait_for(run_in_background(threading.Event().wait), 0.1)
    except TimeoutError:
        print("timed out")
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == "timed out\n"


def test_an_exception_of_a_background_call_is_raised_by_the_await() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(run_in_background(lambda: 1 // 0))
