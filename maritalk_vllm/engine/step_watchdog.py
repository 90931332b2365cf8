"""Detects an engine that is busy but makes no steps."""

import time
from typing import Any

from .engine_load import EngineLoad


class StepWatchdog:
    """Records the time of the engine's last step."""

    def __init__(self, load: EngineLoad | None = None) -> None:
        """`load`: of several API processes, any of which may be the only one that the engine has outputs for."""
        self._load = load
        self._last_step = time.monotonic()
        self._last_idle = self._last_step

    def logger(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """Factory for vLLM's `stat_loggers`, called once per engine. vLLM calls the returned logger after each step."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        watchdog = self

        class Logger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self) -> None:
                """Ignore vLLM's arguments."""

            def record(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
                watchdog.record_step()

            def log_engine_initialized(self) -> None:
                watchdog.record_step()

        return Logger()

    def record_step(self) -> None:
        """Record that the engine has made a step."""
        self._last_step = time.monotonic()
        if self._load is not None:
            self._load.record_step()

    def stalled_seconds(self, *, busy: bool) -> float:
        """Seconds since the last step while busy. Must be polled: it is not notified when work arrives."""
        now = time.monotonic()
        if not busy:
            self._last_idle = now
        last_step = self._last_step if self._load is None else max(self._last_step, self._load.last_step)
        return now - max(last_step, self._last_idle)
