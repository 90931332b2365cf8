"""Places for lines go to the keys in turn."""

import asyncio

import pytest

from maritalk_vllm.batches.line_slots import LineSlots
from maritalk_vllm.batches.line_window import QUIET_SECONDS, LineWindow


def test_keys_get_places_in_turn_whatever_each_has_waiting() -> None:
    async def run() -> None:
        slots, granted = LineSlots(), list[str]()

        async def lines(owner: str, number: int) -> None:
            for _ in range(number):
                await slots.acquire(owner)
                granted.append(owner)

        tasks = [asyncio.create_task(lines(owner, 6)) for owner in ("ana", "ana", "rui")]
        await asyncio.sleep(0)
        assert granted == []
        for size in range(1, 9):
            slots.resize(size)
            await asyncio.sleep(0.001)
        assert (granted.count("ana"), granted.count("rui"), slots.used) == (4, 4, 8)
        slots.release()
        await asyncio.sleep(0.001)
        assert len(granted) == 9
        for each in tasks:
            each.cancel()

    asyncio.run(run())


def test_a_cancelled_wait_takes_no_place() -> None:
    async def run() -> None:
        slots = LineSlots()
        waits = [asyncio.create_task(slots.acquire("ana")) for _ in range(2)]
        await asyncio.sleep(0)
        waits[0].cancel()
        await asyncio.sleep(0)
        slots.resize(1)
        await waits[1]
        assert slots.used == 1
        granted = asyncio.create_task(slots.acquire("ana"))
        await asyncio.sleep(0)
        slots.release()
        granted.cancel()  # between the grant and the wake-up
        await asyncio.gather(granted, return_exceptions=True)
        assert slots.used == 0

    asyncio.run(run())


def test_a_smaller_size_admits_no_line_until_enough_are_done() -> None:
    async def run() -> None:
        slots = LineSlots()
        slots.resize(3)
        for _ in range(3):
            await slots.acquire("ana")
        slots.resize(1)
        wait = asyncio.create_task(slots.acquire("ana"))
        slots.release()
        slots.release()
        await asyncio.sleep(0)
        assert (slots.used, wait.done()) == (1, False)
        slots.release()
        await wait

    asyncio.run(run())


def test_a_window_grows_while_it_is_used_and_shrinks_with_a_full_cache() -> None:
    window = LineWindow(64)
    sizes = [window.update(0.1, 0, used) for used in (16, 24, 20, 36, 54, 60)]
    assert sizes == [22, 33, 33, 49, 60, 60]
    assert [window.update(usage, 0, 60) for usage in (0.95, 0.95, 0.8)] == [45, 33, 33]


def test_a_window_leaves_places_for_interactive_requests() -> None:
    window = LineWindow(64)
    for _ in range(9):
        window.update(0.1, 0, 64)
    assert window.update(0.1, 0, 64) == 60
    assert window.update(0.1, 1, 60) == 15
    assert window.update(0.1, 55, 15) == 5
    assert window.update(0.1, 500, 15) == 1
    assert LineWindow(1).update(0.0, 0, 1) == 1


def test_a_processor_computes_few_lines_beside_interactive_requests() -> None:
    window = LineWindow(256, is_compute_bound=True)
    assert [window.update(0.1, interactive, 0) for interactive in (1, 8, 40, 200)] == [1, 1, 5, 25]


@pytest.mark.parametrize(("is_compute_bound", "beside"), [(True, 1), (False, 15)])
def test_a_window_takes_all_places_only_after_seconds_without_a_request(*, is_compute_bound: bool, beside: int) -> None:
    now = [100.0]
    window = LineWindow(64, is_compute_bound=is_compute_bound, clock=lambda: now[0])
    for _ in range(9):
        window.update(0.1, 0, 64)
    assert window.update(0.1, 0, 64) == 60
    assert window.update(0.1, 8, 60) == beside
    now[0] += QUIET_SECONDS - 0.1
    assert window.update(0.1, 0, beside) == beside
    now[0] += 0.2
    assert window.update(0.1, 0, beside) == 60
