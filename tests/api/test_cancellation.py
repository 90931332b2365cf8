"""Cancelling a part of a task, by a client's disconnect or from elsewhere."""

import asyncio
from typing import Any

import pytest

from maritalk_vllm.api.cancellation import Cancellation, ClientDisconnected, cancel_on_disconnect
from maritalk_vllm.api.disconnect_callbacks import DISCONNECT, DisconnectCallbacks
from tests.server.wire import until


class Client:
    """ASGI's `receive` of a request whose body is read."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def work(seconds: float = 60) -> str:
    await asyncio.sleep(seconds)
    return "done"


def current() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    assert task is not None
    return task


def test_a_cancelled_body_ends_and_its_task_continues() -> None:
    async def scenario() -> None:
        with Cancellation() as cancellation:
            asyncio.get_running_loop().call_soon(cancellation.cancel)
            await work()
        assert current().cancelling() == 0
        cancellation.cancel()
        assert await work(0) == "done"

    asyncio.run(scenario())


def test_a_body_that_completes_in_spite_of_its_cancellation_leaves_no_trace() -> None:
    async def scenario() -> None:
        finished = []
        with Cancellation() as cancellation:
            asyncio.get_running_loop().call_soon(cancellation.cancel)
            for _ in range(2):
                try:
                    await work()
                except asyncio.CancelledError:
                    asyncio.get_running_loop().call_soon(cancellation.cancel)
            finished.append(True)
        assert (finished, current().cancelling()) == ([True], 0)
        assert await work(0) == "done"

    asyncio.run(scenario())


def test_a_cancellation_from_elsewhere_propagates_also_at_the_same_time() -> None:
    async def scenario() -> None:
        reached = []

        async def body(*, together: bool) -> None:
            with Cancellation() as cancellation:
                if together:
                    cancellation.cancel()
                await work()
            reached.append(together)

        for together in (False, True):
            task = asyncio.create_task(body(together=together))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert reached == []

    asyncio.run(scenario())


@pytest.mark.parametrize("order", [("outer",), ("inner",), ("outer", "inner"), ("inner", "outer")])
def test_of_two_nested_cancellations_the_outer_decides(order: tuple[str, ...]) -> None:
    async def scenario() -> None:
        reached = []
        with Cancellation() as outer:
            with Cancellation() as inner:
                for each in order:
                    asyncio.get_running_loop().call_soon({"outer": outer, "inner": inner}[each].cancel)
                await work()
            reached.append("between")
        assert reached == ([] if "outer" in order else ["between"])
        assert current().cancelling() == 0

    asyncio.run(scenario())


def test_an_error_of_the_body_is_raised() -> None:
    async def scenario() -> None:
        async def failing() -> None:
            try:
                await work()
            except asyncio.CancelledError:
                raise LookupError from None

        with pytest.raises(LookupError), Cancellation() as cancellation:
            asyncio.get_running_loop().call_soon(cancellation.cancel)
            await failing()
        assert current().cancelling() == 0

    asyncio.run(scenario())


def test_the_result_is_returned_and_no_task_remains() -> None:
    async def scenario() -> None:
        before = asyncio.all_tasks()
        assert await cancel_on_disconnect({}, Client(), work(0)) == "done"
        await until(lambda: asyncio.all_tasks() == before)

    asyncio.run(scenario())


def test_a_disconnect_cancels_the_work_with_one_more_task_under_another_server() -> None:
    async def scenario() -> None:
        client, before = Client(), asyncio.all_tasks()
        asking = asyncio.create_task(cancel_on_disconnect({}, client, work()))
        await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks() - before) == 2  # the request's own task, and that of `receive`
        client.left.set()
        with pytest.raises(ClientDisconnected):
            await asking

    asyncio.run(scenario())


def test_a_cancelled_request_is_not_a_disconnected_one() -> None:
    async def scenario() -> None:
        before = asyncio.all_tasks()
        asking = asyncio.create_task(cancel_on_disconnect({}, Client(), work()))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: asyncio.all_tasks() == before)

    asyncio.run(scenario())


def test_a_disconnect_cancels_the_work_without_another_task() -> None:
    async def scenario() -> None:
        callbacks, client, before = DisconnectCallbacks(), Client(), asyncio.all_tasks()
        scope = {DISCONNECT: callbacks}
        assert await cancel_on_disconnect(scope, client, work(0)) == "done"
        asking = asyncio.create_task(cancel_on_disconnect(scope, client, work()))
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() - before == {asking}
        callbacks.call()
        with pytest.raises(ClientDisconnected):
            await asking

    asyncio.run(scenario())


def test_a_disconnect_before_the_work_cancels_it_too() -> None:
    async def scenario() -> None:
        callbacks = DisconnectCallbacks()
        callbacks.call()
        with pytest.raises(ClientDisconnected):
            await cancel_on_disconnect({DISCONNECT: callbacks}, Client(), work())

        async def immediate() -> str:
            return "done"

        assert await cancel_on_disconnect({DISCONNECT: callbacks}, Client(), immediate()) == "done"
        assert await work(0.01) == "done"  # no cancellation is left in the task
        assert current().cancelling() == 0

    asyncio.run(scenario())


def test_only_work_in_progress_is_cancelled() -> None:
    async def scenario() -> None:
        callbacks = DisconnectCallbacks()
        called: list[int] = []
        callbacks.add(lambda: called.append(1))
        other = called.clear
        callbacks.add(other)
        callbacks.remove(other)
        callbacks.call()
        callbacks.call()
        callbacks.remove(other)
        assert called == [1]

    asyncio.run(scenario())
