"""What is told of a server's life beside its state: its start, its engine's restarts, its licence's end."""

import os
import time
from enum import StrEnum
from typing import Any, Self

import psutil


class StartupStep(StrEnum):
    """A part of a start, in the order in which they come. A start has those alone that it needs."""

    PORT = "port"
    DOWNLOADING = "downloading"
    IMPORTING = "importing"
    PREPARING = "preparing"
    LOADING = "loading"
    WARMING_UP = "warming_up"
    READY = "ready"


class StartupTimings:
    """The supervisor's own; the API process gets a copy with its order, and goes on with it."""

    def __init__(self, license_expires: float | None = None) -> None:
        """`license_expires`: in seconds since 1970; None where it never does, or none is needed."""
        self.supervisor = os.getpid()
        self.server_start = psutil.Process().create_time()
        """When the supervisor was started, in seconds since 1970."""
        self.license_expires = license_expires
        self.restarts = 0
        """How often an engine that had been ready was started again."""
        self.seconds: dict[str, float] = {}
        """How long each step of the last start took; READY is all of it, from the beginning on."""
        # This clock is the machine's: it goes on from one process to the next.
        self._began = self._last = time.monotonic() - max(0.0, time.time() - self.server_start)

    def done(self, step: StartupStep) -> None:
        """This step ends now; it began with the end of the one before."""
        now = time.monotonic()
        self.seconds[step] = now - (self._began if step is StartupStep.READY else self._last)
        self._last = now

    def reset(self) -> None:
        """The engine is gone, and is started again from now on."""
        self.restarts += 1
        self.seconds = {}
        self._began = self._last = time.monotonic()

    def to_message(self) -> dict[str, Any]:
        """As plain data, for another process."""
        return {**vars(self), "seconds": dict(self.seconds)}

    @classmethod
    def of(cls, message: dict[str, Any]) -> Self:
        """That which `to_message` of another process described."""
        history = cls()
        vars(history).update(message)
        return history
