"""What the supervisor does, by the decisions of `lifecycle`."""

from dataclasses import dataclass

from ..errors import EngineError, MariTalkError, Unavailable


@dataclass(frozen=True, slots=True)
class HoldRequests:
    """Hold requests until the engine is ready."""


@dataclass(frozen=True, slots=True)
class RejectRequests:
    """Reject held and later requests with `error`, until they are held again: the wait may be long."""

    error: Unavailable


@dataclass(frozen=True, slots=True)
class HandOver:
    """Pass held and later requests to the API process, and announce the address."""

    is_first: bool
    """Whether no engine was ready before."""


@dataclass(frozen=True, slots=True)
class AnnounceRestarted:
    """Announce that the API process has the next engine."""


@dataclass(frozen=True, slots=True)
class AnnounceFollower:
    """Announce that this node's part of the model is loaded."""


@dataclass(frozen=True, slots=True)
class ReportRestart:
    """Count a restart, and print why and when the engine is started again."""

    text: str


@dataclass(frozen=True, slots=True)
class ShortenContext:
    """Start the next engines with `max_model_len` tokens of context, and print why."""

    max_model_len: int
    text: str


@dataclass(frozen=True, slots=True)
class ReclaimPort:
    """Answer at the port while no API process does."""


@dataclass(frozen=True, slots=True)
class RetireApi:
    """Have the API process leave the port, finish its requests, and exit, since the engine is to be replaced."""


@dataclass(frozen=True, slots=True)
class StartSuccessor:
    """Start the engine with the reloaded settings beside the one that serves.

    Leads to NoRoom, SuccessorReady or SuccessorFailed.
    """


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Have the successor serve in place of the engine before, which finishes its requests in the background."""


@dataclass(frozen=True, slots=True)
class DiscardSuccessor:
    """Kill the engine that was to take over."""


@dataclass(frozen=True, slots=True)
class ReportSuccessorFailed:
    """Print why the engine with the reloaded settings does not take over."""

    error: MariTalkError


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Answer all requests with `error`, and end the server with it."""

    error: MariTalkError


@dataclass(frozen=True, slots=True)
class Drain:
    """Reject new requests, finish those in flight, and end the server."""


@dataclass(frozen=True, slots=True)
class KillProcesses:
    """Kill all processes below the supervisor, with the requests in flight."""


@dataclass(frozen=True, slots=True)
class StartEngine:
    """Start an engine and follow it, and each that takes over, until one that serves fails. Ends with EngineFailed."""


@dataclass(frozen=True, slots=True)
class ClearEngine:
    """Have all nodes stop the engine, which has failed with `error`, and kill what is left. Ends with EngineCleared."""

    error: EngineError
    abort_requests: bool
    """Whether the API process still runs, and first has to answer its requests with the error."""


@dataclass(frozen=True, slots=True)
class ScheduleStart:
    """Wait. Ends with StartDue."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class SwitchLaunch:
    """Start the next engines with the reloaded settings, or after a failure with those before. Ends with StartDue."""

    error: EngineError | None = None
    """The failure of the engine with the reloaded settings."""


LongAction = StartEngine | ClearEngine | ScheduleStart | SwitchLaunch
"""Takes time, and ends with an event. A step has at most one, as its last action."""

ShortAction = (
    HoldRequests
    | RejectRequests
    | HandOver
    | AnnounceRestarted
    | AnnounceFollower
    | ReportRestart
    | ShortenContext
    | ReclaimPort
    | RetireApi
    | StartSuccessor
    | TakeOver
    | DiscardSuccessor
    | ReportSuccessorFailed
    | GiveUp
    | Drain
    | KillProcesses
)
Action = ShortAction | LongAction
