"""One engine after another: its start, its failure, what is left of it, and the pause before the next one."""

import asyncio
from collections.abc import Callable

from ..errors import EngineError, MariTalkError
from . import lifecycle_actions as actions
from . import lifecycle_events as events
from .cluster.coordinator import Coordinator, SingleNode, coordinator
from .cluster.node_lost import NodeLost
from .cluster.node_messages import Agreement
from .process.announcer import Announcer
from .process.async_tasks import cancel_and_wait, unless_failed
from .process.chat_process import ChatProcess
from .process.engine_manager import EngineManager
from .process.engine_succession import EngineSuccession
from .process.gpu_memory import wait_until_free
from .process.maintenance import Maintenance
from .startup.launch import Launch
from .status.server_state import ServerState
from .status.startup_timings import StartupStep, StartupTimings
from .successor_start import SuccessorStart


class EngineCycle:
    """Executes the long actions of the supervisor."""

    def __init__(
        self,
        *,
        maintenance: Maintenance,
        engines: EngineSuccession,
        successor: SuccessorStart,
        announcer: Announcer,
        state: ServerState,
        timings: StartupTimings,
        chat: ChatProcess | None,
        handle: Callable[[events.Event], object],
        api_serves: Callable[[], bool],
    ) -> None:
        """`handle` is called with the events that occur during an action. `api_serves`: as in Lifecycle."""
        self.coordinator: Coordinator = SingleNode()
        """What the engines wait for besides themselves."""
        self.shortened: Agreement | None = None
        """The context length of the next engines, if it is to be shorter than the plan's."""
        self._shortened_before: Agreement | None = None
        self._maintenance = maintenance
        self._engines = engines
        self._successor = successor
        self._announcer = announcer
        self._state = state
        self._timings = timings
        self._chat = chat
        self._handle = handle
        self._api_serves = api_serves

    async def complete(self, action: actions.LongAction) -> events.Event:
        """Execute a long action, and return the event with which it ends."""
        match action:
            case actions.StartEngine():
                error = await self._run_engine()
                api_serves = self._engine is not None and self._engine.keeps_requests
                return events.EngineFailed(error, api_serves)
            case actions.ClearEngine(error, abort_requests):
                return events.EngineCleared(await self._clear_engine(error, abort_requests=abort_requests))
            case actions.ScheduleStart(delay):
                await asyncio.sleep(delay)
                return events.StartDue()
            case actions.SwitchLaunch(error):
                await self._switch_launch(error)
                return events.StartDue()

    @property
    def _launch(self) -> Launch:
        return self._maintenance.launch

    @property
    def _engine(self) -> EngineManager | None:
        return self._engines.current

    async def _switch_launch(self, error: EngineError | None) -> None:
        """Use the launch that was reloaded, or, after the error of its engine, the one before."""
        if error is None:
            self.shortened, self._shortened_before = None, self.shortened
        else:
            self._announcer.returning(error)
            self.shortened = self._shortened_before
        await self._maintenance.switch_launch(error)
        self._engines.discard_fork_server()  # its environment follows from the settings

    async def _run_engine(self) -> MariTalkError:
        """Start an engine, and return the error with which it fails."""
        try:
            if self._engine is None:  # the first start
                await self._download_weights()
                launch = self._launch
                self.coordinator = coordinator(launch.group, launch.plan, launch.vllm)
            else:
                await wait_until_free(self._launch.plan, lambda: self._announcer.step("Waiting for free GPU memory"))
            await self._maintenance.restore_files(self._engines.discard_fork_server, self._announcer.download)
            await self._end_api_without_fork_server()
            engine = self._engines.engine(self._launch, self._maintenance.folder)
            await engine.import_and_prepare()
            # Not earlier: the nodes start together as soon as all of them are idle.
            self.coordinator.report_idle()
            joining = self.coordinator.wait_for_peers(self._show_missing)
            if self._api_serves():  # it may end while a lost node is missing
                joining = unless_failed(joining, engine.wait_for_exit())
            agreed = await joining
            self._handle(events.NodesJoined())
            loop = asyncio.get_running_loop()
            tasks = [
                loop.create_task(self.coordinator.wait_for_failure()),
                loop.create_task(self._load_and_serve(engine, self.shortened or agreed)),
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                await cancel_and_wait(*tasks)
        except MariTalkError as error:
            return error
        raise AssertionError  # both tasks end with an error alone

    async def _download_weights(self) -> None:
        """Download the weights unless they are local. Raises MariTalkError."""
        if self._launch.source.fetch is not None:
            self._state.set_step("Downloading")
            await self._maintenance.download_weights(self._announcer.download)
            self._timings.mark_done(StartupStep.DOWNLOADING)

    async def _end_api_without_fork_server(self) -> None:
        """End an API process that waits for the next engine, if another fork server has to start it: it has no link."""
        if self._engine is not None and not self._engine.fork_server_alive and self._api_serves():
            await self._clear_engine(EngineError("The engine died."), abort_requests=True)
            self._handle(events.EngineLeaving())

    async def _load_and_serve(self, engine: EngineManager, agreed: Agreement) -> None:
        """Load the model, and wait for the engine to exit. Raises MariTalkError."""
        await engine.start_engine(agreed)
        await self._maintenance.record_loaded()
        self._handle(events.EngineReady())
        self._successor.decide()  # if a reload required that during the start
        await self._engines.wait_for_exit()

    async def _clear_engine(self, error: EngineError, *, abort_requests: bool) -> EngineError:
        """Remove the engine's remains on this node, have the other nodes do the same, and return the root cause."""
        cause = error if isinstance(error, NodeLost) else await self.coordinator.root_cause(error)
        self.coordinator.end_epoch(cause)
        if self._engine is not None:
            if abort_requests:
                await self._engine.abort_requests(cause)
            chat = self._chat.pid if self._chat is not None else None  # it outlives the engine
            pids = [] if chat is None else [chat]
            await self._engine.cleanup(*pids, spared_sessions=self._engines.other_sessions)
        return cause

    def _show_missing(self, step: str) -> None:
        self._announcer.step(step)
        if self.coordinator.has_missing_nodes:
            self._handle(events.NodesMissing(step))
