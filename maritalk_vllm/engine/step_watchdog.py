"""Follows the engine's steps: detects one that is busy but makes none, and knows how full its KV cache is."""

import time
from typing import Any

from .shared_load import SharedLoad


class StepWatchdog:
    """Records the time of the engine's last step, and how full its KV cache was then."""

    def __init__(self, load: SharedLoad | None = None) -> None:
        """`load`: of several API processes, any of which may be the only one that the engine has outputs for."""
        self._load = load
        self._kv_cache_usage: dict[int, float] = {}
        self._last_step = time.monotonic()
        self._last_idle = self._last_step

    def logger(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Factory for vLLM's `stat_loggers`, called once per engine. vLLM calls the returned logger after each step."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        watchdog = self

        class Logger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self) -> None:
                """Ignore vLLM's arguments."""

            def record(self, scheduler_stats: Any, *_: Any, engine_idx: int = 0, **__: Any) -> None:  # noqa: ANN401
                watchdog.record_step()
                if scheduler_stats is not None:
                    watchdog.record_kv_cache(engine_idx, scheduler_stats.kv_cache_usage)

            def log_engine_initialized(self) -> None:
                watchdog.record_step()

        return Logger()

    def record_step(self) -> None:
        """Record that the engine has made a step."""
        self._last_step = time.monotonic()
        if self._load is not None:
            self._load.record_step()

    def record_kv_cache(self, engine: int, usage: float) -> None:
        """Record the used fraction of the KV cache of one replica."""
        self._kv_cache_usage[engine] = usage

    @property
    def kv_cache_usage(self) -> float:
        """The used fraction of the fullest replica's KV cache, from 0 to 1."""
        return max(self._kv_cache_usage.values(), default=0.0)

    def stalled_seconds(self, *, busy: bool) -> float:
        """Seconds since the last step while busy. Must be polled: it is not notified when work arrives."""
        now = time.monotonic()
        if not busy:
            self._last_idle = now
        last_step = self._last_step if self._load is None else max(self._last_step, self._load.last_step)
        return now - max(last_step, self._last_idle)
