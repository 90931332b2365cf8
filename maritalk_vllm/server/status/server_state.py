"""The phase of the server, as probes, metrics and the service manager report it."""

import time
from collections.abc import Callable
from enum import StrEnum


class Phase(StrEnum):
    """loading -> ready -> draining; back to loading when the engine dies; failed when it is not restarted."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


_TRANSITIONS = {
    Phase.LOADING: {Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.FAILED},
    Phase.READY: {Phase.LOADING, Phase.DRAINING, Phase.FAILED},
    Phase.DRAINING: {Phase.DRAINING, Phase.FAILED},
    Phase.FAILED: {Phase.FAILED},
}


class ServerState:
    """The phase, its current step, and their durations. Each process has its own, and only one answers at a time."""

    def __init__(self, phase: Phase = Phase.LOADING) -> None:
        self._phase = phase
        self._since = time.monotonic()
        self.step = ""
        """Current step of loading, such as `Importing vLLM`."""
        self._step_since = self._since
        self.fraction: float | None = None
        """Completed fraction of the step, from 0 to 1; None if unknown."""
        self.on_step: Callable[[str, float | None], object] | None = None
        """Called with each new step and fraction."""
        self.files: dict[str, str] = {}
        """Problem of each file that the server reads or writes while it runs, by name; empty if it is usable."""
        self.reloads = 0
        """How many times SIGHUP was handled."""
        self.not_applied: tuple[str, ...] = ()
        """A sentence for each kind of file that the last one did not apply."""

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase

    @property
    def seconds(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self._since

    def transition_to(self, phase: Phase) -> None:
        """Change the phase. Raises ValueError for a transition that is not allowed."""
        if phase not in _TRANSITIONS[self._phase]:
            raise ValueError(f"{self._phase} is never followed by {phase}")
        if phase is not self._phase:
            self._phase, self._since = phase, time.monotonic()
            self.set_step("")

    @property
    def step_seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._step_since

    def set_step(self, step: str, fraction: float | None = None) -> None:
        """Set the current step of loading and its completed fraction, from 0 to 1."""
        if step != self.step:
            self._step_since = time.monotonic()
        has_changed = (step, fraction) != (self.step, self.fraction)
        self.step, self.fraction = step, fraction
        if has_changed and self.on_step is not None:
            self.on_step(step, fraction)
