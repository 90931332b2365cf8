"""What happens to a server, for the decisions of `lifecycle`."""

from dataclasses import dataclass

from ..errors import EngineError, MariTalkError


@dataclass(frozen=True, slots=True)
class StartDue:
    """The server has begun, or the delay before a restart is over."""


@dataclass(frozen=True, slots=True)
class NodesMissing:
    """The start waits for nodes that are not connected. `step` names them."""

    step: str


@dataclass(frozen=True, slots=True)
class NodesJoined:
    """All nodes are connected, and start the engine together; a single node does so at once."""


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine serves; on a follower, its workers are ready."""


@dataclass(frozen=True, slots=True)
class EngineLeaving:
    """The API process stops listening, and is about to exit."""


@dataclass(frozen=True, slots=True)
class EngineFailed:
    """The start has failed, the engine has died or hangs, or another node has failed or is lost (NodeLost).

    `api_serves`: as in Lifecycle.
    """

    error: MariTalkError
    api_serves: bool = False


@dataclass(frozen=True, slots=True)
class EngineCleared:
    """No process of the failed engine is left. `cause` is the failure of the node that failed first."""

    cause: EngineError


@dataclass(frozen=True, slots=True)
class ReplacementDecided:
    """Settings were reloaded that another engine has to be started for, and a start with them was resolved."""


@dataclass(frozen=True, slots=True)
class ReplacementWithdrawn:
    """Settings were reloaded for which no other engine has to be started after all."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The machine has no room for another engine beside the one that serves."""


@dataclass(frozen=True, slots=True)
class SuccessorReady:
    """The engine with the reloaded settings could serve."""


@dataclass(frozen=True, slots=True)
class SuccessorFailed:
    """It has failed to start, and no process of it is left."""

    error: MariTalkError


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A stop signal arrived, the chat ended, or the terminal was closed."""


Event = (
    StartDue
    | NodesMissing
    | NodesJoined
    | EngineReady
    | EngineLeaving
    | EngineFailed
    | EngineCleared
    | ReplacementDecided
    | ReplacementWithdrawn
    | NoRoom
    | SuccessorReady
    | SuccessorFailed
    | StopRequested
)
