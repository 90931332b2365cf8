"""The load of several API processes, by their views of the same shared memory."""

import time

from maritalk_vllm.engine.shared_load import SLOT_BYTES, SharedLoad
from maritalk_vllm.engine.step_watchdog import StepWatchdog


def loads() -> list[SharedLoad]:
    memory = memoryview(bytearray(3 * SLOT_BYTES))
    return [SharedLoad(memory, index, 3) for index in range(3)]


def test_requests_and_tokens_of_all_processes_are_added_up() -> None:
    first, second, _ = both = loads()
    first.set_num_requests(2)
    second.set_num_requests(5)
    second.set_queued_tokens(70)
    assert [each.get_num_requests() for each in both] == [7, 7, 7]
    assert [each.get_queued_tokens() for each in both] == [70, 70, 70]
    second.clear()
    assert (first.get_num_requests(), first.get_queued_tokens()) == (2, 0)


def test_an_engine_that_steps_for_another_process_does_not_hang() -> None:
    first, second, _ = loads()
    watchdog, other = StepWatchdog(first), StepWatchdog(second)
    time.sleep(0.05)
    assert watchdog.stalled_seconds(busy=True) >= 0.05
    other.record_step()
    assert watchdog.stalled_seconds(busy=True) < 0.05
