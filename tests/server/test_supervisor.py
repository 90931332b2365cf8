"""What the supervisor does by itself, without processes."""

import asyncio

from maritalk_vllm.server.supervisor import _cancelled


def test_a_cancellation_that_was_lost_is_asked_for_again() -> None:
    async def loses_the_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def scenario() -> None:
        tasks = [asyncio.create_task(loses_the_first()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        await asyncio.wait_for(_cancelled(*tasks), 5)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scenario())
