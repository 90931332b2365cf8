"""The engine that serves, the one that starts beside it to take over, and those that it has taken over from."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from functools import partial

from ...errors import MariTalkError
from ...planning.plan import Plan
from ..cluster.node_messages import Agreement
from ..startup.launch import Launch
from ..startup.temporary_folder import TemporaryFolder
from ..status.startup_timings import StartupTimings
from .async_tasks import cancel_and_wait, run_in_background, unless_failed
from .engine_host import EngineHost
from .engine_manager import EngineManager
from .engine_room import has_room
from .process_errors import start_errors


@dataclass(frozen=True, slots=True)
class _Engine:
    """An engine other than the one that serves, and its folder."""

    manager: EngineManager
    folder: TemporaryFolder

    async def end(self) -> None:
        """Kill all of its processes, and remove the folder."""
        await self.manager.end()
        await run_in_background(self.folder.close)

    async def finish(self, drain_timeout: float) -> None:
        """Let its API processes, which are retired, finish their requests, and then do the same as `end`."""
        await self.manager.finish(drain_timeout)
        await run_in_background(self.folder.close)


class EngineSuccession:
    """Starts the engines of a server. Each has a fork server and a folder of its own."""

    def __init__(self, host: EngineHost, timings: StartupTimings, on_leaving: Callable[[], object]) -> None:
        """`timings`: those of the server. `on_leaving`: as for EngineManager."""
        self._host = host
        self._timings = timings
        self._on_leaving = on_leaving
        self.current: EngineManager | None = None
        """The engine that serves, or is to be started again. None before the first start."""
        self._has_changed = asyncio.Event()  # when a successor takes over
        self._successor: _Engine | None = None
        self._ending: dict[asyncio.Task[None], _Engine] = {}  # discarded, or finish their requests
        host.state.on_step = self._send_step

    @property
    def is_hung(self) -> bool:
        """Whether an API process of the current engine hangs, and cannot be killed."""
        return self.current is not None and self.current.is_hung

    @property
    def other_sessions(self) -> Collection[int]:
        """The sessions of the engines that end, and still may answer requests."""
        return [engine.manager.session for engine in self._ending.values()]

    def engine(self, launch: Launch, folder: TemporaryFolder) -> EngineManager:
        """The current engine if its fork server lives, or else a new one, which imports vLLM. Raises EngineError."""
        if self.current is None or not self.current.fork_server_alive:
            if self.current is not None:
                self.current.close()
            self._host.log.start()
            self.current = EngineManager(launch, self._host, folder.path, self._timings, self._on_leaving)
        return self.current

    def update(self, launch: Launch) -> None:
        """Have the current engine use the reloaded `launch`."""
        if self.current is not None:
            self.current.update(launch)

    def discard_fork_server(self) -> None:
        """Have the next start use another fork server: this one has the environment and the folder of its own start."""
        if self.current is not None:
            self.current.kill_fork_server()

    async def wait_for_exit(self) -> None:
        """Wait until the engine that serves exits, if others take over, the last one. Always raises EngineError."""
        while (engine := self.current) is not None:
            self._has_changed.clear()
            try:
                await unless_failed(self._has_changed.wait(), engine.wait_for_exit())
            except MariTalkError:
                if engine is self.current:
                    raise

    async def load_successor(self, launch: Launch, running: Plan) -> bool:
        """Start an engine beside the current one, which runs by the plan `running`, until it could take over.

        Returns False if there is no room for it. Raises MariTalkError if it does not start: no process of it is left.
        """
        await self.wait_until_ended()
        if not await run_in_background(partial(has_room, launch.plan, running)):
            return False
        timings = replace(self._timings)
        timings.begin_again()
        with start_errors():
            folder = TemporaryFolder()
        try:
            manager = EngineManager(launch, self._host, folder.path, timings, self._on_leaving, wait=True)
        except MariTalkError:
            folder.close()
            raise
        successor = self._successor = _Engine(manager, folder)
        try:
            await manager.import_and_prepare()
            await manager.start_engine(Agreement())
        except MariTalkError:
            self._successor = None
            await asyncio.shield(self._end(successor, successor.end()))
            raise
        return True

    def discard_successor(self, loading: asyncio.Task[None]) -> None:
        """Cancel the task that executes `load_successor`, and end its engine in the background."""
        loading.cancel()
        if self._successor is not None:
            successor, self._successor = self._successor, None
            self._end(successor, self._discard(successor, loading))

    async def _discard(self, successor: _Engine, loading: asyncio.Task[None]) -> None:
        await cancel_and_wait(loading)
        await successor.end()

    def take_over(self, launch: Launch, folder: TemporaryFolder) -> TemporaryFolder:
        """Have the successor serve in place of the current engine, which finishes its requests in the background.

        `launch` has what was reloaded since the successor began to start. `folder` is the current engine's. Returns the
        successor's.
        """
        assert self.current is not None
        assert self._successor is not None
        predecessor = _Engine(self.current, folder)
        successor, self._successor = self._successor, None
        successor.manager.take_over(predecessor.manager, launch, self._timings)
        self.current = successor.manager
        self._end(predecessor, predecessor.finish(launch.settings.drain_timeout))
        self._has_changed.set()
        return successor.folder

    async def stop(self, drain_timeout: float) -> None:
        """Stop all engines, as EngineManager.stop does."""
        if self.current is not None:
            await self.current.stop(drain_timeout)
        await self.wait_until_ended()

    async def wait_until_ended(self) -> None:
        """Wait until no engine is left beside the current one, but for a successor that starts."""
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, engine: _Engine, ending: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """End an engine in the background."""
        task = asyncio.get_running_loop().create_task(ending)
        self._ending[task] = engine
        task.add_done_callback(self._ending.pop)
        return task

    def _send_step(self, step: str, fraction: float | None) -> None:
        if self.current is not None:
            self.current.send_step(step, fraction)
