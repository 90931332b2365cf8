"""The decisions of the supervisor: what follows when the engine starts, fails or loses a node, and on a stop signal.

`step` is a pure function, the same for a single node, a leader and a follower. The supervisor turns what happens into
events, and executes the actions.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from ..errors import EngineError, MariTalkError, Unavailable
from ..i18n.message import Number, clause, msg, pluralized, sentences, with_full_stop
from ..planning.model_requirements import MIN_CONTEXT
from .cluster.node_lost import RESTART_HINT, NodeLost
from .lifecycle_actions import (
    Action,
    AnnounceFollower,
    AnnounceRestarted,
    ClearEngine,
    DiscardSuccessor,
    Drain,
    GiveUp,
    HandOver,
    HoldRequests,
    KillProcesses,
    ReclaimPort,
    RejectRequests,
    ReportRestart,
    ReportSuccessorFailed,
    RetireApi,
    ScheduleStart,
    ShortAction,
    ShortenContext,
    StartEngine,
    StartSuccessor,
    SwitchLaunch,
    TakeOver,
)
from .lifecycle_events import (
    EngineCleared,
    EngineFailed,
    EngineLeaving,
    EngineReady,
    Event,
    NodesJoined,
    NodesMissing,
    NoRoom,
    ReplacementDecided,
    ReplacementWithdrawn,
    StartDue,
    StopRequested,
    SuccessorFailed,
    SuccessorReady,
)
from .status.server_state import Phase

WINDOW_SECONDS = 600
"""Period within which restarts are limited."""

_DELAYS = (0.0, 1.0, 5.0, 10.0)
"""Seconds before the first restart within WINDOW_SECONDS, the second, and so on; the last one repeats."""


class Stage(StrEnum):
    """Stage of the server between its start and its end."""

    PENDING = "pending"
    """No engine runs. A start is due, at once or after a delay."""
    LOADING = "loading"
    """An engine starts; in a group, this node may still wait for the others."""
    READY = "ready"
    REPLACING = "replacing"
    """The engine serves, while a successor with other settings starts beside it."""
    LEAVING = "leaving"
    """The API process has stopped listening, and exits."""
    CLEARING = "clearing"
    """The engine has failed, and its remaining processes are killed."""
    DRAINING = "draining"
    """A stop was requested. Requests in flight are finished, then the server ends."""
    FAILED = "failed"
    """The engine is not started again. The server ends with an error."""


class Replacement(StrEnum):
    """How far the replacement of the engine has come by one that has no room beside it."""

    NONE = "none"
    DECIDED = "decided"
    """The old engine finishes its requests."""
    STARTED = "started"
    """The new engine starts. If it fails, the old one is started again."""


_PHASES = {
    Stage.READY: Phase.READY,
    Stage.REPLACING: Phase.READY,
    Stage.DRAINING: Phase.DRAINING,
    Stage.FAILED: Phase.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """The state: a stage, and what later decisions depend on."""

    is_follower: bool
    """Whether this node is a follower. A single node and a leader answer requests, and limit the restarts."""
    max_restarts: int
    stage: Stage = Stage.PENDING
    was_ready: bool = False
    nodes_joined: bool = False
    """Whether all nodes have started an engine together before; also true of a single node."""
    restarts: tuple[float, ...] = ()
    """When the restarts of the last WINDOW_SECONDS were decided on, in seconds of the clock of `now`."""
    may_shorten: bool = False
    """Whether the plan chose the context length, and no start was repeated with a shorter one."""
    api_serves: bool = False
    """Whether the API process has outlived the engine that failed last, and keeps the port and its requests."""
    replacement: Replacement = Replacement.NONE
    died_beside_successor: bool = False
    """Whether the engine died while a successor started, perhaps for lack of memory: the next starts after its end."""
    stop_requested: bool = False

    @property
    def phase(self) -> Phase:
        """The phase that probes, metrics and the service manager report."""
        return _PHASES.get(self.stage, Phase.LOADING)


Step = tuple[Lifecycle, tuple[Action, ...]]


def step(state: Lifecycle, event: Event, now: float) -> Step:
    """Return the state after `event`, and the actions to execute in order. `now`: seconds of a monotonic clock.

    An event that does not concern the stage changes nothing: another may have come first, such as a stop before the
    engine is ready.
    """
    match state.stage, event:
        case _, StopRequested():
            return _stop(state)
        case Stage.PENDING, StartDue():
            return replace(state, stage=Stage.LOADING), (StartEngine(),)
        case Stage.LOADING, NodesMissing(missing) if state.nodes_joined and not state.api_serves:
            # Requests wait during a first start, and at an API process that has outlived its engine, for
            # --resume-timeout. Otherwise they are rejected: a lost node may take long to reconnect.
            return state, (RejectRequests(Unavailable(with_full_stop(missing), RESTART_HINT)),)
        case Stage.LOADING, NodesJoined():
            return replace(state, nodes_joined=True), (HoldRequests(),)
        case Stage.LOADING, EngineReady():
            ready = replace(state, stage=Stage.READY, was_ready=True, replacement=Replacement.NONE)
            return ready, (_announcement(state),)
        case Stage.READY | Stage.REPLACING, _ if (following := _replacement(state, event)) is not None:
            return following
        case Stage.LOADING, EngineLeaving() if state.api_serves:
            return replace(state, api_serves=False), (ReclaimPort(),)
        case Stage.READY, EngineLeaving():
            return replace(state, stage=Stage.LEAVING, api_serves=False), ()
        case Stage.REPLACING, EngineLeaving():
            return replace(state, stage=Stage.LEAVING, api_serves=False), (DiscardSuccessor(),)
        case Stage.LOADING | Stage.READY | Stage.LEAVING, EngineFailed(error, api_serves):
            return _clear(state, error, api_serves=api_serves and state.stage is not Stage.LEAVING)
        case Stage.REPLACING, EngineFailed(error, api_serves):
            alone = replace(state, stage=Stage.READY, died_beside_successor=True)
            cleared, actions = _clear(alone, error, api_serves=api_serves)
            return cleared, (DiscardSuccessor(), *actions)
        case Stage.CLEARING, EngineCleared(cause):
            return _restart_or_give_up(state, cause, now)
        case _:
            return state, ()


def _stop(state: Lifecycle) -> Step:
    """Drain on the first request to stop, and kill on the second. A server that has failed ends anyway."""
    if state.stop_requested:
        return state, (KillProcesses(),)
    stopping = replace(state, stop_requested=True)
    if state.stage is Stage.FAILED:
        return stopping, ()
    discarded = (DiscardSuccessor(),) if state.stage is Stage.REPLACING else ()
    return replace(stopping, stage=Stage.DRAINING), (*discarded, Drain())


def _replacement(state: Lifecycle, event: Event) -> Step | None:
    """What follows at an engine that serves from an event that is about its replacement; None for another event."""
    ready, replacing = replace(state, stage=Stage.READY), replace(state, stage=Stage.REPLACING)
    match state.stage, event:
        case Stage.READY, ReplacementDecided() if not state.died_beside_successor:
            return replacing, (StartSuccessor(),)
        case (Stage.READY, ReplacementDecided()) | (Stage.REPLACING, NoRoom()):
            leaving = replace(ready, stage=Stage.LEAVING, api_serves=False, died_beside_successor=False)
            return replace(leaving, replacement=Replacement.DECIDED), (RetireApi(),)
        case Stage.REPLACING, ReplacementDecided():
            return replacing, (DiscardSuccessor(), StartSuccessor())
        case Stage.REPLACING, ReplacementWithdrawn():
            return ready, (DiscardSuccessor(),)
        case Stage.REPLACING, SuccessorReady():
            return replace(ready, api_serves=False), (TakeOver(),)
        case Stage.REPLACING, SuccessorFailed(error):
            return ready, (ReportSuccessorFailed(error),)
    return None


def _announcement(state: Lifecycle) -> ShortAction:
    if state.is_follower:
        return AnnounceFollower()
    return AnnounceRestarted() if state.api_serves else HandOver(is_first=not state.was_ready)


def _clear(state: Lifecycle, error: MariTalkError, *, api_serves: bool) -> Step:
    if not isinstance(error, EngineError):
        if not state.was_ready:  # such as a flag that vLLM does not know: another start would end the same way
            return replace(state, stage=Stage.FAILED), (GiveUp(error),)
        # The engine has run with these options: the cause, such as a full disk, may be temporary.
        error = EngineError(error.message, error.hint)
    # An engine that is still ready runs on: another node has failed. One that exits by itself answers its requests.
    has_requests = state.stage is Stage.READY or state.api_serves
    abort_requests = has_requests and not api_serves and not state.is_follower
    return replace(state, stage=Stage.CLEARING, api_serves=api_serves), (ClearEngine(error, abort_requests),)


def _restart_or_give_up(state: Lifecycle, cause: EngineError, now: float) -> Step:
    match state.replacement:
        case Replacement.DECIDED:
            following = replace(state, stage=Stage.PENDING, replacement=Replacement.STARTED)
            return following, (ReclaimPort(), SwitchLaunch())
        case Replacement.STARTED:
            back = replace(state, stage=Stage.PENDING, replacement=Replacement.NONE)
            return back, (ReclaimPort(), SwitchLaunch(cause))
    length = cause.max_model_len
    if state.may_shorten and not state.was_ready and length is not None and length >= MIN_CONTEXT:
        text = msg(
            "{failed}: starting it again with --max-model-len {length}.", failed=clause(cause.message), length=length
        )
        again = (ShortenContext(length, text), ReclaimPort(), ScheduleStart(0.0))
        return replace(state, stage=Stage.PENDING, may_shorten=False), again
    recent = tuple(time for time in state.restarts if time > now - WINDOW_SECONDS)
    delay = _restart_delay(state, cause, len(recent))
    if delay is None:
        return replace(state, stage=Stage.FAILED), (GiveUp(_final_error(state, cause)),)
    actions: tuple[Action, ...] = (ReportRestart(_restart_text(cause, delay)),)
    if not state.api_serves:
        actions += (ReclaimPort(),)
        if isinstance(cause, NodeLost):
            actions += (RejectRequests(Unavailable(cause.message, RESTART_HINT)),)
    return replace(state, stage=Stage.PENDING, restarts=(*recent, now)), (*actions, ScheduleStart(delay))


def _restart_delay(state: Lifecycle, cause: EngineError, recent: int) -> float | None:
    """Seconds until the next start, after `recent` restarts within the window; None if there is none."""
    if state.is_follower:
        # The leader limits the restarts. A node that has never been part of the group ends with its own error.
        return 0.0 if state.nodes_joined else None
    # A first start that fails is not retried: its error is printed at once. A lost node may reconnect at any time.
    if not (state.was_ready or isinstance(cause, NodeLost)) or recent >= state.max_restarts:
        return None
    return _DELAYS[min(recent, len(_DELAYS) - 1)]


def _restart_text(cause: EngineError, delay: float) -> str:
    if isinstance(cause, NodeLost):
        return sentences(cause.message, RESTART_HINT)
    died = clause(cause.message)
    return (
        msg("{died}: starting it again in {pause} s.", died=died, pause=Number(delay, ".0f"))
        if delay
        else msg("{died}: starting it again now.", died=died)
    )


def _final_error(state: Lifecycle, cause: EngineError) -> EngineError:
    if not state.was_ready or not state.max_restarts:
        return cause
    times = msg(
        "{times} within {window_seconds} minutes",
        times=pluralized(state.max_restarts, "{number} time", "{number} times"),
        window_seconds=WINDOW_SECONDS // 60,
    )
    return EngineError(
        msg("{message} It was started again {times} before.", message=cause.message, times=times), cause.hint
    )
