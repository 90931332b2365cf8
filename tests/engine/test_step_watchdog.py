"""The watchdog of an engine that makes no steps."""

import logging
from types import SimpleNamespace

import pytest

from maritalk_vllm.engine.step_watchdog import StepWatchdog


class Clock:
    """A clock that a test moves."""

    now = 1e6

    def __call__(self) -> float:
        return self.now


def measured(watchdog: StepWatchdog) -> float:
    """The longest step so far, in seconds."""
    return watchdog._times.longest_seconds


def test_steps_are_measured_once_an_engine_is_warm() -> None:
    """Neither the warm-up nor the first step after it counts, nor the time without requests or without an engine."""
    clock = Clock()
    watchdog = StepWatchdog(clock=clock)

    def step(seconds: float) -> None:
        clock.now += seconds
        watchdog.record_step(100)

    step(50)
    step(40)
    watchdog.begin()
    step(30)
    assert measured(watchdog) == 0
    step(2)
    assert measured(watchdog) == 2
    clock.now += 100
    assert watchdog.stalled_seconds(busy=False) == 0
    step(3)
    assert measured(watchdog) == 3
    clock.now += 200  # the engine has died
    watchdog.begin()
    step(20)
    assert measured(watchdog) == 3
    step(4)
    assert measured(watchdog) == 4


def test_the_time_without_a_step_counts_while_busy() -> None:
    clock = Clock()
    watchdog = StepWatchdog(clock=clock)
    clock.now += 5
    assert watchdog.stalled_seconds(busy=True) == 5
    assert watchdog.stalled_seconds(busy=False) == 0
    clock.now += 7
    assert watchdog.stalled_seconds(busy=True) == 7
    watchdog.record_step()
    assert watchdog.stalled_seconds(busy=True) == 0


def test_an_option_replaces_the_derived_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watchdog = StepWatchdog()
    assert watchdog.limit_seconds(None) == 300
    assert watchdog.limit_seconds(2.5) == 2.5
    assert not caplog.records


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllm_reports_the_tokens_that_a_step_has_computed() -> None:
    from vllm.v1.metrics.stats import IterationStats

    clock = Clock()
    watchdog = StepWatchdog(clock=clock)
    logger = watchdog.logger(SimpleNamespace(scheduler_config=SimpleNamespace(max_num_batched_tokens=4096)), 0)
    watchdog.begin()
    logger.record(None, None, engine_idx=0)
    clock.now += 1
    iteration = IterationStats()
    iteration.prompt_token_stats.computed = 512
    logger.record(None, iteration, mm_cache_stats=None, engine_idx=0)
    assert watchdog.limit_seconds(None) == 10 * 1 * 4096 / 512
