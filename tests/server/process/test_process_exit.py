"""Waiting for a child process in the event loop."""

import asyncio
import os
import signal
import subprocess

import psutil

from maritalk_vllm.server.process.process_exit import wait_for_exit
from tests.descriptors import open_descriptors
from tests.server.event_loop import never_blocked


def test_the_exit_code_is_returned_without_blocking_the_event_loop() -> None:
    async def scenario() -> None:
        with subprocess.Popen(["sh", "-c", "sleep 1.5; exit 3"]) as process:
            before = open_descriptors()
            async with never_blocked():
                assert await wait_for_exit(process) == 3
            assert await wait_for_exit(process) == 3
            assert open_descriptors() == before
        with subprocess.Popen(["sleep", "60"]) as process:
            process.kill()
            assert await wait_for_exit(process) == -signal.SIGKILL

    asyncio.run(scenario())


def test_a_wait_may_be_cancelled() -> None:
    async def scenario() -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            before = open_descriptors()
            waiting = asyncio.create_task(wait_for_exit(process))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait((waiting,))
            assert waiting.cancelled()
            assert open_descriptors() == before
            process.kill()

    asyncio.run(scenario())


def test_a_process_that_something_else_has_reaped_has_exited() -> None:
    """Psutil does so when all descendants are killed."""

    async def scenario() -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            waiting = asyncio.create_task(wait_for_exit(process))
            await asyncio.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            await asyncio.to_thread(psutil.Process(process.pid).wait)
            async with asyncio.timeout(5):
                await waiting

    asyncio.run(scenario())
