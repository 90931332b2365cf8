"""What the server is at, as probes and operators see it."""

import time
from enum import StrEnum


class Phase(StrEnum):
    """loading -> ready -> draining; loading again when the engine has died; failed when it is not started any more."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


_NEXT = {
    Phase.LOADING: {Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.FAILED},
    Phase.READY: {Phase.LOADING, Phase.DRAINING, Phase.FAILED},
    Phase.DRAINING: {Phase.DRAINING, Phase.FAILED},
    Phase.FAILED: {Phase.FAILED},
}


class ServerState:
    """The phase, what is being done in it, and since when. Each process has its own: only one of them answers."""

    def __init__(self, phase: Phase = Phase.LOADING) -> None:
        self._phase = phase
        self._since = time.monotonic()
        self.step = ""
        """What loading is at: `Importing vLLM`."""
        self._step_since = self._since
        self.fraction: float | None = None
        """How much of that is done, from 0 to 1; None if nobody knows."""
        self.files: dict[str, str] = {}
        """By the names of what is read or written while the server runs: what is wrong with it, or an empty text."""

    @property
    def phase(self) -> Phase:
        """The phase."""
        return self._phase

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self._since

    def to(self, phase: Phase) -> None:
        """Change the phase. Raises ValueError where it never follows this one."""
        if phase not in _NEXT[self._phase]:
            raise ValueError(f"{self._phase} is never followed by {phase}")
        if phase is not self._phase:
            self._phase, self._since = phase, time.monotonic()
            self.at("")

    @property
    def step_seconds(self) -> float:
        """How long the step has lasted."""
        return time.monotonic() - self._step_since

    def at(self, step: str, fraction: float | None = None) -> None:
        """Loading is at this step now, and so far with it."""
        if step != self.step:
            self._step_since = time.monotonic()
        self.step, self.fraction = step, fraction
