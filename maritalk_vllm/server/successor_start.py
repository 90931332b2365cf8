"""The start of an engine with reloaded settings beside the one that serves."""

import asyncio
from collections.abc import Callable

from ..errors import MariTalkError
from .lifecycle_events import (
    Event,
    NoRoom,
    ReplacementDecided,
    ReplacementWithdrawn,
    SuccessorFailed,
    SuccessorReady,
)
from .process.engine_succession import EngineSuccession
from .process.maintenance import Maintenance
from .startup.launch import Launch


class SuccessorStart:
    """Reports to the supervisor what becomes of the launch that a reload requires another engine for."""

    def __init__(self, maintenance: Maintenance, engines: EngineSuccession, report: Callable[[Event], object]) -> None:
        self._maintenance = maintenance
        self._engines = engines
        self._report = report
        self._launch: Launch | None = None
        self._task: asyncio.Task[None] | None = None

    def decide(self) -> None:
        """Report what the last reload requires, unless that engine starts already."""
        successor = self._maintenance.successor
        if successor is None and self._launch is not None:
            self._report(ReplacementWithdrawn())
        elif successor is not None and successor is not self._launch:
            self._report(ReplacementDecided())

    def begin(self) -> None:
        """Start the engine. Ends with NoRoom, SuccessorReady, or SuccessorFailed."""
        assert self._maintenance.successor is not None
        self._launch = self._maintenance.successor
        self._task = asyncio.get_running_loop().create_task(self._run(self._launch))

    def end(self) -> None:
        """Note that nothing starts any more."""
        self._launch = None

    def discard(self) -> None:
        """Kill the engine in the background."""
        self.end()
        assert self._task is not None
        self._engines.discard_successor(self._task)

    async def _run(self, launch: Launch) -> None:
        try:
            has_room = await self._engines.load_successor(launch, self._maintenance.launch.plan)
        except MariTalkError as error:
            await self._maintenance.reject_successor(launch, error)
            self._report(SuccessorFailed(error))
            return
        if not has_room:
            self._report(NoRoom())
            return
        await self._maintenance.use_successor(launch, lambda: self._report(SuccessorReady()))
        await self._maintenance.record_loaded()
