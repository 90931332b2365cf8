"""A group that is not whole."""

from typing import Self

from ...errors import EngineError

WHOLE_AGAIN = "The engine is started again when all nodes are there."


class NodeLost(EngineError):
    """A node that the engine cannot go on without; it is started again when all are there."""

    @classmethod
    def gone(cls, rank: int, address: str, how: Exception) -> Self:
        """The node of this rank at this address, and how that was seen."""
        return cls(f"Node {rank} ({address}) is gone: {how}.")
