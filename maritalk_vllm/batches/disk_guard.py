"""Waits while the results of batches cannot be written, for example because the disk is full."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .batch_metrics import BatchMetrics

RETRY_SECONDS = 5.0
"""Delay before what could not be written is written again."""

_log = logging.getLogger("vllm.maritalk.batches")
_Result = TypeVar("_Result")


class DiskGuard:
    """Writes again until it succeeds. `is_full`: something cannot be written, and no line is to be admitted."""

    def __init__(self, metrics: BatchMetrics) -> None:
        self._failing = 0
        self._metrics = metrics

    @property
    def is_full(self) -> bool:
        """Whether a write has failed and not succeeded yet; others may succeed, such as one without a change."""
        return self._failing > 0

    async def persist(self, write: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of `write`, for which OSError and sqlite3.OperationalError mean: again, a little later."""
        has_failed = False
        while True:
            try:
                result = await write()
            except (OSError, sqlite3.OperationalError) as error:
                if not has_failed:
                    has_failed = True
                    self._fail(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                if has_failed:
                    self._recover()
                return result

    def _fail(self, error: Exception) -> None:
        """Count a write that fails, and log the first in one sentence."""
        if not self._failing:
            is_known = isinstance(error, OSError) and error.errno is not None
            reason = os.strerror(error.errno) if is_known else str(error)  # type: ignore[attr-defined]
            _log.error("Batches pause: their results cannot be written: %s. See to the folder in --data-dir.", reason)
        self._failing += 1
        self._metrics.disk_full.set(1)

    def _recover(self) -> None:
        """Count a write that succeeds at last, and log the last in one sentence."""
        self._failing -= 1
        if not self._failing:
            _log.warning("Batches continue: their results can be written again.")
            self._metrics.disk_full.set(0)
