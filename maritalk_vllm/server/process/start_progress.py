"""Progress of a start: its step, the load progress in vLLM's log, and whether it takes too long."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from ...engine.load_progress import LoadingStep, log_size, read_loading_step
from ...errors import EngineError
from ...settings import Settings
from ..startup.console import Console
from ..status.server_state import ServerState
from . import process_errors
from .start_deadline import StartDeadline

Result = TypeVar("Result")

_PROGRESS_SECONDS = 0.5
"""How often the load progress is read from vLLM's log."""


class StartProgress:
    """The progress of one start after another."""

    def __init__(self, settings: Settings, console: Console, state: ServerState) -> None:
        self._console = console
        self._state = state
        self._log_start = 0
        self._log_step: LoadingStep | None = None
        self.begin(settings)

    def begin(self, settings: Settings) -> None:
        """Begin another start, with --start-timeout of these settings."""
        self._settings = settings
        self._deadline = StartDeadline(settings.start_timeout)

    def running(self) -> AbstractContextManager[None]:
        """Count the time inside this context towards --start-timeout."""
        return self._deadline.running()

    def skip_log(self) -> None:
        """Look for progress in what is written to vLLM's log from now on."""
        self._log_start = log_size(self._settings.engine_log)
        self._log_step = None

    def show(self, step: str, fraction: float | None = None) -> None:
        """Show a step, and the fraction of it that is done."""
        self._state.set_step(step, fraction)
        self._console.progress(step, fraction)

    async def wait_for(self, next_event: Callable[[], Awaitable[Result]]) -> Result:
        """Return what `next_event` does; meanwhile, show the load progress. Raises TimeoutError after the deadline."""
        while (left := self._deadline.seconds_left) < math.inf:
            if left <= 0:
                raise TimeoutError
            try:
                async with asyncio.timeout(min(_PROGRESS_SECONDS, left)):
                    return await next_event()
            except TimeoutError:
                step = read_loading_step(self._settings.engine_log, self._log_start)
                # The last one stays in the log while later steps are shown, such as the warm-up.
                if step is not None and step != self._log_step:
                    self._log_step = step
                    self._console.progress(step.text)
                    self._state.set_step(*step)
        return await next_event()

    def late_error(self) -> EngineError:
        """The error of a start that takes too long."""
        return process_errors.late_start(self._settings.start_timeout, self._state, self._settings.engine_log)
