"""Startup timings, number of restarts, and the licence's expiry, for the metrics."""

import os
import time
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Self

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


def _process_start() -> float:
    return psutil.Process().create_time()


def _process_start_on_monotonic_clock() -> float:
    return time.monotonic() - max(0.0, time.time() - _process_start())


@dataclass(slots=True)
class StartupTimings:
    """Owned by the supervisor; the API process receives a copy at start and continues it."""

    license_expires: float | None = None
    """In seconds since 1970; None if the licence never expires, or none is needed."""
    supervisor: int = field(default_factory=os.getpid)
    """The supervisor's pid."""
    server_start: float = field(default_factory=_process_start)
    """Start time of the supervisor, in seconds since 1970."""
    restarts: int = 0
    """Number of restarts of an engine that had been ready."""
    seconds: dict[StartupStep, float] = field(default_factory=dict)
    """Duration of each step of the last start; READY is the total."""
    # On CLOCK_MONOTONIC, which is the same in all processes of a machine.
    start: float = field(default_factory=_process_start_on_monotonic_clock)
    """When the last start began."""
    step_start: float = field(default_factory=_process_start_on_monotonic_clock)
    """When its current step began."""

    def mark_done(self, step: StartupStep) -> None:
        """Record the end of a step, which began at the end of the previous one.

        Does nothing after READY until `reset`: an API process that is replaced begins no other start.
        """
        if StartupStep.READY in self.seconds:
            return
        now = time.monotonic()
        self.seconds[step] = now - (self.start if step is StartupStep.READY else self.step_start)
        self.step_start = now

    def continue_from(self, other: Self) -> None:
        """Take over the timings of another process."""
        for each in fields(other):
            setattr(self, each.name, getattr(other, each.name))

    def reset(self) -> None:
        """Count a restart, and start the timings again."""
        self.restarts += 1
        self.begin_again()

    def begin_again(self) -> None:
        """Start the timings again."""
        self.seconds = {}
        self.start = self.step_start = time.monotonic()
