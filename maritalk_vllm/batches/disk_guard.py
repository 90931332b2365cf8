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
    """Writes again until it succeeds. `is_full`: nothing could be written last, and no line is to be admitted."""

    def __init__(self, metrics: BatchMetrics) -> None:
        self.is_full = False
        self._metrics = metrics

    async def persist(self, write: Callable[[], Awaitable[_Result]]) -> _Result:
        """Return the result of `write`, for which OSError and sqlite3.OperationalError mean: again, a little later."""
        while True:
            try:
                result = await write()
            except (OSError, sqlite3.OperationalError) as error:
                self._report(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._report(None)
                return result

    def _report(self, error: Exception | None) -> None:
        """Record the outcome of a write, and log a change in one sentence."""
        if error is not None and not self.is_full:
            is_known = isinstance(error, OSError) and error.errno is not None
            reason = os.strerror(error.errno) if is_known else str(error)  # type: ignore[attr-defined]
            _log.error("Batches pause: their results cannot be written: %s. See to the folder in --data-dir.", reason)
        elif error is None and self.is_full:
            _log.warning("Batches continue: their results can be written again.")
        self.is_full = error is not None
        self._metrics.disk_full.set(self.is_full)
