"""Every decision of the supervisor, as a table, and what holds in any sequence of events."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maritalk_vllm.errors import EngineError, MariTalkError, Unavailable, UsageError, WeightsError
from maritalk_vllm.server.cluster.node_lost import NodeLost
from maritalk_vllm.server.lifecycle import WINDOW_SECONDS, Lifecycle, Replacement, Stage, step
from maritalk_vllm.server.lifecycle_actions import (
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
    LongAction,
    ReclaimPort,
    RejectRequests,
    ReportRestart,
    ReportSuccessorFailed,
    RetireApi,
    ScheduleStart,
    ShortenContext,
    StartEngine,
    StartSuccessor,
    SwitchLaunch,
    TakeOver,
)
from maritalk_vllm.server.lifecycle_events import (
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
from maritalk_vllm.server.status.server_state import Phase, ServerState
from tests.test_structure import DOCUMENT, PACKAGE, imports

PENDING, LOADING, READY, REPLACING, LEAVING, CLEARING, DRAINING, FAILED = Stage
EVENTS: tuple[type[Event], ...] = get_args(Event)

NOW = 1e6
DIED = EngineError("The engine died.", "See its log.")
TOO_LONG = EngineError("It needs 2.0 GiB.", "Serve shorter ones.", max_model_len=5008)
TOO_SHORT = EngineError("It needs 2.0 GiB.", "Serve shorter ones.", max_model_len=4080)
LOST = NodeLost("Node 1 (10.0.0.2) is gone: it closed its connection.")
NO_FLAG = UsageError("There is no flag --nonsense.", "Leave it out.")
DISK_FULL = WeightsError("The disk is full.", "Free 3 GB.")
HINT = "The engine restarts when all nodes are connected."
MISSING = NodesMissing("Waiting for node 1")


class Row(NamedTuple):
    """What follows from `event` at `before`, for the reason `why`."""

    why: str
    before: Lifecycle
    event: Event
    after: Lifecycle
    actions: Sequence[Action]


def at(stage: Stage, **more: Any) -> Lifecycle:
    """A single node or a leader."""
    return Lifecycle(**{"stage": stage, "is_follower": False, "max_restarts": 3, **more})


def follower(stage: Stage, **more: Any) -> Lifecycle:
    return at(stage, is_follower=True, **more)


def restarted(delay: float, text: str) -> tuple[Action, ...]:
    return (ReportRestart(text), ReclaimPort(), ScheduleStart(delay))


def once_ready(stage: Stage, *restarts: float, **more: Any) -> Lifecycle:
    """A server whose engine was ready, and was restarted so many seconds before NOW."""
    return at(stage, was_ready=True, restarts=tuple(NOW - seconds for seconds in restarts), **more)


STARTS = (
    Row("the server begins", at(PENDING), StartDue(), at(LOADING), [StartEngine()]),
    Row("the delay is over", once_ready(PENDING, 5), StartDue(), once_ready(LOADING, 5), [StartEngine()]),
    Row("requests wait for the nodes of a first start", at(LOADING), MISSING, at(LOADING), []),
    Row(
        "requests do not wait for a lost node",
        at(LOADING, nodes_joined=True),
        MISSING,
        at(LOADING, nodes_joined=True),
        [RejectRequests(Unavailable("Waiting for node 1.", HINT))],
    ),
    Row(
        "requests wait for a lost node at an API process that has outlived the engine",
        at(LOADING, nodes_joined=True, api_serves=True),
        MISSING,
        at(LOADING, nodes_joined=True, api_serves=True),
        [],
    ),
    Row("all nodes are connected", at(LOADING), NodesJoined(), at(LOADING, nodes_joined=True), [HoldRequests()]),
    Row(
        "all nodes are connected again",
        at(LOADING, nodes_joined=True),
        NodesJoined(),
        at(LOADING, nodes_joined=True),
        [HoldRequests()],
    ),
    Row("the first engine is ready", at(LOADING), EngineReady(), once_ready(READY), [HandOver(is_first=True)]),
    Row(
        "the next engine is ready",
        once_ready(LOADING, 9),
        EngineReady(),
        once_ready(READY, 9),
        [HandOver(is_first=False)],
    ),
    Row(
        "a follower's workers are ready; it has no requests",
        follower(LOADING),
        EngineReady(),
        follower(READY, was_ready=True),
        [AnnounceFollower()],
    ),
)

FAILURES = (
    Row("a first start fails", at(LOADING), EngineFailed(DIED), at(CLEARING), [ClearEngine(DIED, False)]),
    Row(
        "a first start fails for what the user has to change",
        at(LOADING),
        EngineFailed(NO_FLAG),
        at(FAILED),
        [GiveUp(NO_FLAG)],
    ),
    Row(
        "a restart fails for what may be temporary",
        once_ready(LOADING),
        EngineFailed(DISK_FULL),
        once_ready(CLEARING),
        [ClearEngine(EngineError("The disk is full.", "Free 3 GB."), False)],
    ),
    Row("a start that fails is reported by its error", at(LOADING), EngineLeaving(), at(LOADING), []),
    Row(
        "an API process that waited for the next engine leaves",
        once_ready(LOADING, api_serves=True),
        EngineLeaving(),
        once_ready(LOADING),
        [ReclaimPort()],
    ),
    Row("the API process leaves", once_ready(READY, api_serves=True), EngineLeaving(), once_ready(LEAVING), []),
    Row(
        "an API process that left has answered its requests",
        once_ready(LEAVING),
        EngineFailed(DIED),
        once_ready(CLEARING),
        [ClearEngine(DIED, False)],
    ),
    Row(
        "an engine that lost a node still has requests",
        once_ready(READY),
        EngineFailed(LOST),
        once_ready(CLEARING),
        [ClearEngine(LOST, True)],
    ),
    Row(
        "an API process keeps the requests of an engine that died",
        once_ready(READY),
        EngineFailed(DIED, api_serves=True),
        once_ready(CLEARING, api_serves=True),
        [ClearEngine(DIED, False)],
    ),
    Row(
        "an API process keeps the requests of an engine that lost a node",
        once_ready(READY),
        EngineFailed(LOST, api_serves=True),
        once_ready(CLEARING, api_serves=True),
        [ClearEngine(LOST, False)],
    ),
    Row(
        "it keeps them when the next engine fails to start",
        once_ready(LOADING, api_serves=True),
        EngineFailed(DIED, api_serves=True),
        once_ready(CLEARING, api_serves=True),
        [ClearEngine(DIED, False)],
    ),
    Row(
        "it cannot keep them any longer",
        once_ready(LOADING, api_serves=True),
        EngineFailed(DIED),
        once_ready(CLEARING),
        [ClearEngine(DIED, True)],
    ),
    Row(
        "an API process that leaves keeps nothing",
        once_ready(LEAVING),
        EngineFailed(DIED, api_serves=True),
        once_ready(CLEARING),
        [ClearEngine(DIED, False)],
    ),
    Row(
        "the next engine is ready for an API process that waits",
        once_ready(LOADING, api_serves=True),
        EngineReady(),
        once_ready(READY, api_serves=True),
        [AnnounceRestarted()],
    ),
    Row(
        "a follower has no requests",
        follower(READY, was_ready=True),
        EngineFailed(LOST),
        follower(CLEARING, was_ready=True),
        [ClearEngine(LOST, False)],
    ),
)

RESTARTS = (
    Row("what never worked is not tried again", at(CLEARING), EngineCleared(DIED), at(FAILED), [GiveUp(DIED)]),
    Row(
        "a first start with too long a context is repeated once with what fits, and is no restart",
        at(CLEARING, may_shorten=True),
        EngineCleared(TOO_LONG),
        at(PENDING),
        [
            ShortenContext(5008, "It needs 2.0 GiB: starting it again with --max-model-len 5008."),
            ReclaimPort(),
            ScheduleStart(0),
        ],
    ),
    Row(
        "a length that the user chose stays, as does one that was shortened",
        at(CLEARING),
        EngineCleared(TOO_LONG),
        at(FAILED),
        [GiveUp(TOO_LONG)],
    ),
    Row(
        "another failure is not repeated",
        at(CLEARING, may_shorten=True),
        EngineCleared(DIED),
        at(FAILED, may_shorten=True),
        [GiveUp(DIED)],
    ),
    Row(
        "a context below the minimum of a plan is not served",
        at(CLEARING, may_shorten=True),
        EngineCleared(TOO_SHORT),
        at(FAILED, may_shorten=True),
        [GiveUp(TOO_SHORT)],
    ),
    Row(
        "clients rely on the length of an engine that was ready",
        once_ready(CLEARING, may_shorten=True),
        EngineCleared(TOO_LONG),
        once_ready(PENDING, 0, may_shorten=True),
        restarted(0, "It needs 2.0 GiB: starting it again now."),
    ),
    Row(
        "a first start that lost a node is tried again",
        at(CLEARING),
        EngineCleared(LOST),
        at(PENDING, restarts=(NOW,)),
        [
            ReportRestart(f"{LOST.message} {HINT}"),
            ReclaimPort(),
            RejectRequests(Unavailable(LOST.message, HINT)),
            ScheduleStart(0),
        ],
    ),
    Row(
        "the first restart is immediate",
        once_ready(CLEARING),
        EngineCleared(DIED),
        once_ready(PENDING, 0),
        restarted(0, "The engine died: starting it again now."),
    ),
    Row(
        "the port stays with an API process that waits",
        once_ready(CLEARING, api_serves=True),
        EngineCleared(DIED),
        once_ready(PENDING, 0, api_serves=True),
        [ReportRestart("The engine died: starting it again now."), ScheduleStart(0)],
    ),
    Row(
        "an API process decides itself how long requests wait for a lost node",
        once_ready(CLEARING, api_serves=True),
        EngineCleared(LOST),
        once_ready(PENDING, 0, api_serves=True),
        [ReportRestart(f"{LOST.message} {HINT}"), ScheduleStart(0)],
    ),
    *(
        Row(
            f"restart {len(before) + 1} is delayed",
            once_ready(CLEARING, *before, max_restarts=6),
            EngineCleared(DIED),
            once_ready(PENDING, *before, 0, max_restarts=6),
            restarted(delay, f"The engine died: starting it again in {delay} s."),
        )
        for before, delay in (((9,), 1), ((9, 8), 5), ((9, 8, 7), 10), ((9, 8, 7, 6), 10), ((9, 8, 7, 6, 5), 10))
    ),
    Row(
        "a restart is forgotten after the window",
        once_ready(CLEARING, 600, 599.5, 1),
        EngineCleared(DIED),
        once_ready(PENDING, 599.5, 1, 0),
        restarted(5, "The engine died: starting it again in 5 s."),
    ),
    Row(
        "restarts are used up",
        once_ready(CLEARING, 599.5, 2, 1),
        EngineCleared(DIED),
        once_ready(FAILED, 599.5, 2, 1),
        [GiveUp(EngineError("The engine died. It was started again 3 times within 10 minutes before.", DIED.hint))],
    ),
    Row(
        "the one restart is used up",
        once_ready(CLEARING, 2, max_restarts=1),
        EngineCleared(LOST),
        once_ready(FAILED, 2, max_restarts=1),
        [GiveUp(EngineError(f"{LOST.message} It was started again 1 time within 10 minutes before."))],
    ),
    Row(
        "--max-restarts 0",
        once_ready(CLEARING, max_restarts=0),
        EngineCleared(DIED),
        once_ready(FAILED, max_restarts=0),
        [GiveUp(DIED)],
    ),
    Row(
        "a node is lost too often before the first engine is ready",
        at(CLEARING, max_restarts=1, restarts=(NOW - 1,)),
        EngineCleared(LOST),
        at(FAILED, max_restarts=1, restarts=(NOW - 1,)),
        [GiveUp(LOST)],
    ),
    Row(
        "a follower leaves the limit to the leader",
        follower(CLEARING, nodes_joined=True, max_restarts=0, restarts=(NOW - 2, NOW - 1)),
        EngineCleared(DIED),
        follower(PENDING, nodes_joined=True, max_restarts=0, restarts=(NOW - 2, NOW - 1, NOW)),
        restarted(0, "The engine died: starting it again now."),
    ),
    Row(
        "a follower that never was in the group ends",
        follower(CLEARING),
        EngineCleared(DIED),
        follower(FAILED),
        [GiveUp(DIED)],
    ),
)

REPLACEMENTS = (
    Row(
        "another engine starts beside the one that serves",
        once_ready(READY, 5, api_serves=True),
        ReplacementDecided(),
        once_ready(REPLACING, 5, api_serves=True),
        [StartSuccessor()],
    ),
    Row(
        "it takes over", once_ready(REPLACING, 5, api_serves=True), SuccessorReady(), once_ready(READY, 5), [TakeOver()]
    ),
    Row(
        "it fails, and nothing changes",
        once_ready(REPLACING, 5, max_restarts=0),
        SuccessorFailed(NO_FLAG),
        once_ready(READY, 5, max_restarts=0),
        [ReportSuccessorFailed(NO_FLAG)],
    ),
    Row(
        "a later reload requires yet another engine",
        once_ready(REPLACING),
        ReplacementDecided(),
        once_ready(REPLACING),
        [DiscardSuccessor(), StartSuccessor()],
    ),
    Row(
        "a later reload requires none",
        once_ready(REPLACING),
        ReplacementWithdrawn(),
        once_ready(READY),
        [DiscardSuccessor()],
    ),
    Row(
        "the engine dies before its successor is ready",
        once_ready(REPLACING),
        EngineFailed(DIED, api_serves=True),
        once_ready(CLEARING, api_serves=True, died_beside_successor=True),
        [DiscardSuccessor(), ClearEngine(DIED, False)],
    ),
    Row(
        "another attempt does not start two engines again",
        once_ready(READY, 5, died_beside_successor=True),
        ReplacementDecided(),
        once_ready(LEAVING, 5, replacement=Replacement.DECIDED),
        [RetireApi()],
    ),
    Row(
        "the API process leaves before the successor is ready",
        once_ready(REPLACING, api_serves=True),
        EngineLeaving(),
        once_ready(LEAVING),
        [DiscardSuccessor()],
    ),
    Row(
        "without room, the API process finishes its requests before another engine starts",
        once_ready(REPLACING, 5, api_serves=True),
        NoRoom(),
        once_ready(LEAVING, 5, replacement=Replacement.DECIDED),
        [RetireApi()],
    ),
    Row(
        "it has exited, or its engine has failed before",
        once_ready(LEAVING, replacement=Replacement.DECIDED),
        EngineFailed(DIED, api_serves=True),
        once_ready(CLEARING, replacement=Replacement.DECIDED),
        [ClearEngine(DIED, False)],
    ),
    Row(
        "the end of an engine that is replaced is no restart",
        once_ready(CLEARING, 5, max_restarts=0, replacement=Replacement.DECIDED),
        EngineCleared(DIED),
        once_ready(PENDING, 5, max_restarts=0, replacement=Replacement.STARTED),
        [ReclaimPort(), SwitchLaunch()],
    ),
    Row(
        "the new engine is ready",
        once_ready(LOADING, replacement=Replacement.STARTED),
        EngineReady(),
        once_ready(READY),
        [HandOver(is_first=False)],
    ),
    Row(
        "a new engine that fails is replaced by the old one, which is no restart",
        once_ready(CLEARING, 5, max_restarts=0, replacement=Replacement.STARTED),
        EngineCleared(DIED),
        once_ready(PENDING, 5, max_restarts=0),
        [ReclaimPort(), SwitchLaunch(DIED)],
    ),
)

STOPS = (
    Row(
        "a stop while a successor starts",
        once_ready(REPLACING),
        StopRequested(),
        once_ready(DRAINING, stop_requested=True),
        [DiscardSuccessor(), Drain()],
    ),
    *(
        Row(f"a stop while {each}", at(each), StopRequested(), at(DRAINING, stop_requested=True), [Drain()])
        for each in (PENDING, LOADING, READY, LEAVING, CLEARING)
    ),
    Row(
        "the second signal does not wait for requests",
        at(DRAINING, stop_requested=True),
        StopRequested(),
        at(DRAINING, stop_requested=True),
        [KillProcesses()],
    ),
    Row("a failed server ends anyway", at(FAILED), StopRequested(), at(FAILED, stop_requested=True), []),
    Row(
        "a failed server that does not end",
        at(FAILED, stop_requested=True),
        StopRequested(),
        at(FAILED, stop_requested=True),
        [KillProcesses()],
    ),
)

ROWS = (*STARTS, *FAILURES, *RESTARTS, *REPLACEMENTS, *STOPS)


def pairs(stages: Iterable[Stage], *events: type[Event]) -> list[tuple[Stage, type[Event]]]:
    return list(itertools.product(stages, events))


IGNORED = {
    "The server ends: a step that had begun may still report, and changes nothing.": pairs(
        (DRAINING, FAILED), *(each for each in EVENTS if each is not StopRequested)
    ),
    "A start is due only in PENDING.": pairs((LOADING, READY, REPLACING, LEAVING, CLEARING), StartDue),
    "Nodes join and an engine becomes ready during a start only.": pairs(
        (PENDING, READY, REPLACING, LEAVING, CLEARING), NodesMissing, NodesJoined, EngineReady
    ),
    "Its requests were aborted, or it leaves already.": pairs((CLEARING, LEAVING), EngineLeaving),
    "No engine runs.": pairs((PENDING,), EngineLeaving, EngineFailed, EngineCleared),
    "The first failure decides.": pairs((CLEARING,), EngineFailed),
    "The next engine that is ready is replaced.": pairs((PENDING, LOADING, LEAVING, CLEARING), ReplacementDecided),
    "Nothing was to be cleared.": pairs((LOADING, READY, REPLACING, LEAVING), EngineCleared),
    "No successor starts.": pairs(
        (PENDING, LOADING, READY, LEAVING, CLEARING), ReplacementWithdrawn, NoRoom, SuccessorReady, SuccessorFailed
    ),
}
"""The pairs of a stage and an event that change nothing, by the reason."""

EXAMPLES: dict[type[Event], Event] = {
    StartDue: StartDue(),
    NodesMissing: MISSING,
    NodesJoined: NodesJoined(),
    EngineReady: EngineReady(),
    EngineLeaving: EngineLeaving(),
    EngineFailed: EngineFailed(DIED),
    EngineCleared: EngineCleared(DIED),
    ReplacementDecided: ReplacementDecided(),
    ReplacementWithdrawn: ReplacementWithdrawn(),
    NoRoom: NoRoom(),
    SuccessorReady: SuccessorReady(),
    SuccessorFailed: SuccessorFailed(DIED),
    StopRequested: StopRequested(),
}


def comparable(action: Action) -> tuple[object, ...]:
    """The action with its errors by class and text: two exceptions are never equal."""
    values = [getattr(action, field.name) for field in fields(action)]
    return type(action), *(
        (type(each), each.message, each.hint) if isinstance(each, MariTalkError) else each for each in values
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_each_event_has_its_result(row: Row) -> None:
    after, actions = step(row.before, row.event, NOW)
    assert after == row.after
    assert list(map(comparable, actions)) == list(map(comparable, row.actions))


@pytest.mark.parametrize(
    ("stage", "event"),
    [pair for ignored in IGNORED.values() for pair in ignored],
    ids=lambda each: each.value if isinstance(each, Stage) else each.__name__,
)
def test_ignored_events_change_nothing(stage: Stage, event: type[Event]) -> None:
    for flags in itertools.product((False, True), repeat=5):
        names = ("is_follower", "was_ready", "nodes_joined", "api_serves", "stop_requested")
        state = at(stage, **dict(zip(names, flags, strict=True)))
        assert step(state, EXAMPLES[event], NOW) == (state, ())


def test_every_pair_of_a_stage_and_an_event_is_in_the_table() -> None:
    handled = {(row.before.stage, type(row.event)) for row in ROWS}
    ignored = [pair for ignored in IGNORED.values() for pair in ignored]
    assert len(ignored) == len(set(ignored))
    assert not handled & set(ignored)
    assert handled | set(ignored) == set(itertools.product(Stage, EVENTS))


def test_the_documented_picture_is_the_table() -> None:
    """docs/structure.md has each change of the stage, with its event, and no other."""
    (picture,) = re.findall(r"stateDiagram-v2\n(.*?)```", DOCUMENT, re.DOTALL)
    drawn = re.findall(r"^ +(\w+) --> (\w+): (\w+)", picture, re.MULTILINE)
    changes = {
        (row.before.stage.value, row.after.stage.value, type(row.event).__name__)
        for row in ROWS
        if row.before.stage is not row.after.stage
    }
    assert sorted(drawn) == sorted(changes)


def test_the_phase_of_each_stage() -> None:
    assert {each: at(each).phase for each in Stage} == {
        PENDING: Phase.LOADING,
        LOADING: Phase.LOADING,
        READY: Phase.READY,
        REPLACING: Phase.READY,
        LEAVING: Phase.LOADING,
        CLEARING: Phase.LOADING,
        DRAINING: Phase.DRAINING,
        FAILED: Phase.FAILED,
    }


def test_decisions_need_neither_a_clock_nor_an_event_loop() -> None:
    imported = {name for name, _ in imports(PACKAGE / "server" / "lifecycle.py")}
    assert {name for name in imported if not name.startswith("maritalk_vllm.")} == {"dataclasses", "enum"}


class CheckedLifecycle:
    """A lifecycle that checks, at each event, what has to hold in any sequence of events."""

    def __init__(self, state: Lifecycle) -> None:
        self.state = state
        self.now = NOW
        self.starts = 0
        self.restarts: list[float] = []
        self.phase = ServerState()
        self._is_started = False
        self._starts_successor = False
        self._holds_requests = True

    def handle(self, event: Event) -> LongAction | None:
        """Take a step, and return its long action."""
        before = self.state
        self.state, actions = step(before, event, self.now)
        if self.state.phase is not self.phase.phase:
            self.phase.transition_to(self.state.phase)  # raises ValueError for one that is not allowed
        for action in actions:
            self._note(action)
        assert not any(isinstance(each, LongAction) for each in actions[:-1])
        if before.stop_requested or before.stage in (DRAINING, FAILED):
            assert self.state.stage is before.stage
            assert set(map(type, actions)) <= {KillProcesses}
        if self.state.stage is READY and before.stage is not READY:
            assert self._is_started
        if self.state.stage in (DRAINING, FAILED):
            assert not self._holds_requests
        assert self._starts_successor == (self.state.stage is REPLACING)
        if not self.state.is_follower:
            recent = [each for each in self.restarts if each > self.now - WINDOW_SECONDS]
            assert len(recent) <= self.state.max_restarts
        last = actions[-1] if actions else None
        return last if isinstance(last, LongAction) else None

    def _note(self, action: Action) -> None:
        match action:
            case StartEngine():
                self.starts += 1
                self._is_started = True
            case ClearEngine():
                self._is_started = False
            case StartSuccessor():
                assert not self._starts_successor
                self._starts_successor = True
            case TakeOver() | DiscardSuccessor() | ReportSuccessorFailed():
                assert self._starts_successor
                self._starts_successor = False
            case ScheduleStart():
                self.restarts.append(self.now)
            case HoldRequests() | ReclaimPort():
                self._holds_requests = True
            case RetireApi():
                self._holds_requests = True
                self._starts_successor = False  # there was no room for it
            case RejectRequests() | HandOver() | GiveUp() | Drain():
                self._holds_requests = False


ERRORS = st.sampled_from((DIED, LOST, NO_FLAG, DISK_FULL))
SERVERS = st.builds(Lifecycle, is_follower=st.booleans(), max_restarts=st.integers(0, 5))
ANY_EVENT = st.one_of(
    st.sampled_from((StartDue(), MISSING, NodesJoined(), EngineReady(), EngineLeaving(), StopRequested())),
    st.sampled_from((ReplacementDecided(), ReplacementWithdrawn(), NoRoom(), SuccessorReady(), SuccessorFailed(DIED))),
    st.builds(EngineFailed, ERRORS, st.booleans()),
    st.builds(EngineCleared, st.sampled_from((DIED, LOST))),
)


@given(SERVERS, st.lists(st.tuples(ANY_EVENT, st.floats(0, WINDOW_SECONDS)), max_size=60))
def test_any_sequence_of_events_keeps_the_rules(server: Lifecycle, events: list[tuple[Event, float]]) -> None:
    checked = CheckedLifecycle(server)
    for event, seconds in events:
        checked.now += seconds
        checked.handle(event)


class EngineRun(NamedTuple):
    """What one engine reports, and how it fails after `seconds`."""

    seconds: float
    reports: list[Event]
    error: MariTalkError
    cause: EngineError


ENGINE_RUNS = st.builds(
    EngineRun,
    seconds=st.floats(0, WINDOW_SECONDS),
    reports=st.sampled_from(
        (
            [],
            [MISSING],
            [MISSING, NodesJoined()],
            [NodesJoined(), EngineReady()],
            [NodesJoined(), EngineReady(), EngineLeaving()],
            [NodesJoined(), EngineReady(), ReplacementDecided(), SuccessorReady()],
        )
    ),
    error=ERRORS,
    cause=st.sampled_from((DIED, LOST)),
)


def complete(checked: CheckedLifecycle, action: LongAction, run: EngineRun) -> Event:
    """What the supervisor reports while it executes `action`, and at the end of it."""
    match action:
        case StartEngine():
            for report in run.reports:
                assert checked.handle(report) is None
            checked.now += run.seconds
            return EngineFailed(run.error)
        case ClearEngine():
            return EngineCleared(run.cause)
        case ScheduleStart(delay):
            checked.now += delay
            return StartDue()
        case SwitchLaunch():
            return StartDue()


def play(checked: CheckedLifecycle, runs: list[EngineRun], stop_at: int | None = None) -> None:
    """Execute long actions as the supervisor does, until none is left; a stop arrives during number `stop_at`."""
    following = itertools.cycle(runs)
    run = runs[0]
    action, number = checked.handle(StartDue()), 0
    while action is not None:
        if isinstance(action, StartEngine):
            run = next(following)
        if number == stop_at:
            assert checked.handle(StopRequested()) is None
        action = checked.handle(complete(checked, action, run))
        number += 1
        assert number < 100


@given(SERVERS, st.lists(ENGINE_RUNS, min_size=1, max_size=10), st.integers(0, 50))
def test_every_server_ends(server: Lifecycle, runs: list[EngineRun], stop_at: int) -> None:
    """At a stop at any moment, or by itself before."""
    checked = CheckedLifecycle(server)
    play(checked, runs, stop_at)
    assert checked.state.stage in (DRAINING, FAILED)


@given(st.integers(0, 8), st.lists(ENGINE_RUNS, min_size=1, max_size=10))
def test_a_server_whose_engine_always_fails_ends_by_itself(max_restarts: int, runs: list[EngineRun]) -> None:
    """Unless it is a follower, whose leader ends instead. All failures are within the window."""
    checked = CheckedLifecycle(at(PENDING, max_restarts=max_restarts))
    play(checked, [run._replace(seconds=run.seconds / 100) for run in runs])
    assert checked.state.stage is FAILED
    assert 1 <= checked.starts <= max_restarts + 1
