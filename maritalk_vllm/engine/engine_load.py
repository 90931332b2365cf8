"""Load of the engine, for work that may use only spare capacity."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .generator import Generator
    from .step_watchdog import StepWatchdog


class EngineLoad:
    """The engine at this moment. `places`: requests that all replicas compute at once.

    `is_compute_bound`: each further request lengthens a step in proportion, as on a processor. On a GPU, decoding waits
    for the weights to be read, once for all requests.
    `lines`: those among the unfinished that are lines of batches, as their worker says.
    """

    def __init__(
        self, generator: "Generator", watchdog: "StepWatchdog", places: int, *, is_compute_bound: bool
    ) -> None:
        self.places = places
        self.is_compute_bound = is_compute_bound
        self.lines = 0
        self._generator = generator
        self._watchdog = watchdog

    @property
    def unfinished(self) -> int:
        """Requests of all tiers, running and queued."""
        return self._generator.unfinished_requests

    @property
    def kv_cache_usage(self) -> float:
        """The used fraction of the KV cache, from 0 to 1."""
        return self._watchdog.kv_cache_usage
