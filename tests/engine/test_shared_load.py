"""The load of several API processes, by their views of the same shared memory."""

import time

from maritalk_vllm.engine.shared_load import ENGINES, SharedLoad, size_bytes
from maritalk_vllm.engine.step_watchdog import StepWatchdog


def loads() -> list[SharedLoad]:
    memory = memoryview(bytearray(size_bytes(3)))
    return [SharedLoad(memory, index, 3) for index in range(3)]


def test_requests_and_tokens_of_all_processes_are_added_up() -> None:
    first, second, _ = all_three = loads()
    first.set_num_requests(2)
    second.set_num_requests(5)
    second.set_lines(4)
    second.set_queued_tokens(70)
    assert [each.get_num_requests() for each in all_three] == [7, 7, 7]
    assert [each.get_lines() for each in all_three] == [4, 4, 4]
    assert [each.get_queued_tokens() for each in all_three] == [70, 70, 70]
    second.clear()
    assert (first.get_num_requests(), first.get_lines(), first.get_queued_tokens()) == (2, 0, 0)


def test_an_engine_that_steps_for_another_process_does_not_hang() -> None:
    first, second, _ = loads()
    watchdog, other = StepWatchdog(first), StepWatchdog(second)
    time.sleep(0.05)
    assert watchdog.stalled_seconds(busy=True) >= 0.05
    before = time.monotonic()
    other.record_step()
    assert watchdog.stalled_seconds(busy=True) <= time.monotonic() - before


def test_each_process_sees_the_kv_cache_that_the_engine_reports_to_any() -> None:
    """vLLM reports the usage after a step to one process: the first with an output."""
    first, second, _ = (StepWatchdog(each) for each in loads())
    assert first.kv_cache_usage == 0.0
    first.record_kv_cache(0, 0.95)
    second.record_kv_cache(1, 0.5)
    assert [each.kv_cache_usage for each in (first, second)] == [0.95, 0.95]
    second.record_kv_cache(0, 0.25)
    assert [each.kv_cache_usage for each in (first, second)] == [0.5, 0.5]
    first.record_kv_cache(1, 0.0)
    first.record_kv_cache(ENGINES + 1, 0.3)  # beyond the places
    assert second.kv_cache_usage == 0.3
    first.record_kv_cache(ENGINES, 0.1)
    assert second.kv_cache_usage == 0.25
