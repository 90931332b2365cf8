"""The tiers of requests: interactive ones before `flex`, and those before the lines of batches."""

from enum import Enum


class ServiceTier(Enum):
    """A tier, by the name that answers have. With vLLM's scheduling policy `priority`, a higher one goes first."""

    DEFAULT = "default"
    FLEX = "flex"
    BATCH = "batch"

    @property
    def priority(self) -> int:
        """The priority of its requests in vLLM, which takes the least first."""
        return _PRIORITIES[self]


_PRIORITIES = {ServiceTier.DEFAULT: 0, ServiceTier.FLEX: 1, ServiceTier.BATCH: 2}
