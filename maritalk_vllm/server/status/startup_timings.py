"""Startup timings, number of restarts, and the licence's expiry, for the metrics."""

import os
import time
from enum import StrEnum
from typing import Any, Self

import psutil


class StartupStep(StrEnum):
    """Steps of a start, in order. A start skips those that it does not need."""

    PORT = "port"
    DOWNLOADING = "downloading"
    IMPORTING = "importing"
    PREPARING = "preparing"
    LOADING = "loading"
    WARMING_UP = "warming_up"
    READY = "ready"


class StartupTimings:
    """Owned by the supervisor; the API process receives a copy at start and continues it."""

    def __init__(self, license_expires: float | None = None) -> None:
        """`license_expires`: in seconds since 1970; None if it never expires, or no licence is needed."""
        self.supervisor = os.getpid()
        self.server_start = psutil.Process().create_time()
        """Start time of the supervisor, in seconds since 1970."""
        self.license_expires = license_expires
        self.restarts = 0
        """Number of restarts of an engine that had been ready."""
        self.seconds: dict[str, float] = {}
        """Duration of each step of the last start; READY is the total."""
        # CLOCK_MONOTONIC is the same in all processes of a machine.
        self._began = self._last = time.monotonic() - max(0.0, time.time() - self.server_start)

    def mark_done(self, step: StartupStep) -> None:
        """Record the end of a step, which began at the end of the previous one."""
        now = time.monotonic()
        self.seconds[step] = now - (self._began if step is StartupStep.READY else self._last)
        self._last = now

    def reset(self) -> None:
        """Count a restart, and start the timings again."""
        self.restarts += 1
        self.seconds = {}
        self._began = self._last = time.monotonic()

    def to_message(self) -> dict[str, Any]:
        """Return plain data for another process."""
        return {**vars(self), "seconds": dict(self.seconds)}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Self:
        """Return the timings that another process sent with `to_message`."""
        timings = cls()
        vars(timings).update(message)
        return timings
