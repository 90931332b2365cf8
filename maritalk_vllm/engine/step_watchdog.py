"""Detects an engine that is busy but makes no steps."""

import time
from collections.abc import Callable
from typing import Any

from .step_times import StepTimes


class StepWatchdog:
    """Records the time of the engine's last step, and measures how long its steps take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_step = self._last_idle = clock()
        self._measures = self._is_warm = False
        self._times = StepTimes()

    def logger(self, config: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Factory for vLLM's `stat_loggers`, called once per engine. vLLM calls the returned logger after each step."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        watchdog = self
        self._times.max_batched_tokens = config.scheduler_config.max_num_batched_tokens

        class Logger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self) -> None:
                """Ignore vLLM's arguments."""

            def record(self, scheduler: Any, iteration: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401
                watchdog.record_step(0 if iteration is None else iteration.prompt_token_stats.computed)

            def log_engine_initialized(self) -> None:
                watchdog.record_step()

        return Logger()

    def begin(self) -> None:
        """Measure the steps from the second on: an engine has begun, whose first step may compile something."""
        self._last_step = self._clock()
        self._measures, self._is_warm = True, False

    def record_step(self, prompt_tokens: int = 0) -> None:
        """Record that the engine has made a step, with the computed tokens of the prompts that it completed."""
        now = self._clock()
        if self._is_warm:
            self._times.add(now - max(self._last_step, self._last_idle), prompt_tokens)
        self._is_warm = self._measures
        self._last_step = now

    def stalled_seconds(self, *, busy: bool) -> float:
        """Seconds since the last step while busy. Must be polled: it is not notified when work arrives."""
        now = self._clock()
        if not busy:
            self._last_idle = now
        return now - max(self._last_step, self._last_idle)

    def limit_seconds(self, option: float | None) -> float:
        """Seconds without a step after which the engine counts as hung: `option`, or if None, as measured."""
        if option is not None:
            return option
        self._times.log_limit()
        return self._times.limit_seconds
