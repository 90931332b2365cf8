"""Whether the engine still makes steps."""

import time
from typing import Any


class StepWatchdog:
    """When the engine last told anything of its work."""

    def __init__(self) -> None:
        self._beat = time.monotonic()
        self._idle = self._beat

    def logger(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        """A logger of vLLM's figures, which it hears of at each step: vLLM makes one with this for each engine."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        pulse = self

        class Logger(StatLoggerBase):  # type: ignore[misc]
            def __init__(self) -> None:
                """What vLLM would give is not needed."""

            def record(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
                pulse.beat()

            def log_engine_initialized(self) -> None:
                pulse.beat()

        return Logger()

    def beat(self) -> None:
        """The engine has made a step."""
        self._beat = time.monotonic()

    def stalled_seconds(self, *, busy: bool) -> float:
        """How long it had work and made no step: to be asked again and again, since it is not told when work comes."""
        now = time.monotonic()
        if not busy:
            self._idle = now
        return now - max(self._beat, self._idle)
