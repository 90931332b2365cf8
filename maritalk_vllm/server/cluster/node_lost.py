"""The error of a group that has lost a node."""

from typing import Self

from ...errors import EngineError
from ...i18n.message import msg

RESTART_HINT = "The engine restarts when all nodes are connected."


class NodeLost(EngineError):
    """A node that the engine needs is disconnected; the engine restarts when all nodes are connected again."""

    @classmethod
    def from_disconnect(cls, rank: int, address: str, reason: Exception) -> Self:
        """Return the error for the node with this rank and address. `reason`: how the disconnect was detected."""
        return cls(msg("Node {number} ({address}) is gone: {how}.", number=rank, address=address, how=reason))
