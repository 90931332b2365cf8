"""Load of the engine, for work that may use only spare capacity."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine_client import LimitedClient
    from .step_watchdog import StepWatchdog


class EngineLoad:
    """The engine at this moment, with the requests of all API processes.

    `places`: requests that all replicas compute at once.
    `is_compute_bound`: each further request lengthens a step in proportion, as on a processor. On a GPU, decoding waits
    for the weights to be read, once for all requests.
    """

    def __init__(
        self, client: "LimitedClient", watchdog: "StepWatchdog", places: int, *, is_compute_bound: bool
    ) -> None:
        self.places = places
        self.is_compute_bound = is_compute_bound
        self._client = client
        self._watchdog = watchdog

    @property
    def unfinished(self) -> int:
        """Requests of all tiers, running and queued."""
        return self._client.get_num_unfinished_requests()

    @property
    def lines(self) -> int:
        """Those among the unfinished that are for lines of batches."""
        return self._client.get_num_unfinished_lines()

    @property
    def kv_cache_usage(self) -> float:
        """The used fraction of the KV cache, from 0 to 1."""
        return self._watchdog.kv_cache_usage
