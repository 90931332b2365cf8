"""Follows the engine's steps: detects one that is busy but makes none, and knows how full its KV cache is."""

import time
from collections.abc import Callable
from typing import Any

from .shared_load import SharedLoad
from .step_times import StepTimes


class StepWatchdog:
    """Records the time of the engine's last step, how long its steps take, and how full its KV cache was."""

    def __init__(self, load: SharedLoad | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`load`: that of several API processes, since the engine may have outputs, or a report, for only one."""
        self._load = load
        self._clock = clock
        self._kv_cache_usage: dict[int, float] = {}
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

            def record(self, scheduler: Any, iteration: Any, *_: Any, engine_idx: int = 0, **__: Any) -> None:  # noqa: ANN401
                watchdog.record_step(0 if iteration is None else iteration.prompt_token_stats.computed)
                if scheduler is not None:
                    watchdog.record_kv_cache(engine_idx, scheduler.kv_cache_usage)

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
            self._times.add(now - max(self._latest_step, self._last_idle), prompt_tokens)
        self._is_warm = self._measures
        self._last_step = now
        if self._load is not None:
            self._load.record_step()

    @property
    def _latest_step(self) -> float:
        """When the engine has made a step for any API process."""
        return self._last_step if self._load is None else max(self._last_step, self._load.last_step)

    def record_kv_cache(self, engine: int, usage: float) -> None:
        """Record the used fraction of the KV cache of one replica."""
        if self._load is None:
            self._kv_cache_usage[engine] = usage
        else:
            self._load.set_kv_cache_usage(engine, usage)

    @property
    def kv_cache_usage(self) -> float:
        """The used fraction of the fullest replica's KV cache, from 0 to 1."""
        return max(self._kv_cache_usage.values(), default=0.0) if self._load is None else self._load.kv_cache_usage

    def stalled_seconds(self, *, busy: bool) -> float:
        """Seconds since the last step while busy. Must be polled: it is not notified when work arrives."""
        now = self._clock()
        if not busy:
            self._last_idle = now
        return now - max(self._latest_step, self._last_idle)

    def limit_seconds(self, option: float | None) -> float:
        """Seconds without a step after which the engine counts as hung: `option`, or if None, as measured."""
        if option is not None:
            return option
        self._times.log_limit()
        return self._times.limit_seconds
