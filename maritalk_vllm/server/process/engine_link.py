"""The API process's link to the engine: lost when that dies, and replaced by one to the next engine."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ...engine import startup_errors, vllm_launcher
from ...engine.engine_address import EngineAddress
from ...engine.step_watchdog import StepWatchdog
from ...errors import EngineError
from ...i18n.message import Number, msg
from ..messaging.error_report import ErrorReport
from ..middleware.in_flight import InFlightRequests
from ..status.server_state import Phase, ServerState
from ..status.startup_timings import StartupStep, StartupTimings
from . import process_errors
from .async_tasks import run_in_background
from .process_messages import EngineHangs, Ready, ReportChannel, Serve, ServingOptions, WarmingUp

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient


class EngineLink:
    """Has requests wait for the next engine or end, and notices an engine that hangs."""

    def __init__(
        self,
        client: "EngineClient",
        watchdog: StepWatchdog,
        job: Serve,
        channel: ReportChannel,
        state: ServerState,
        in_flight: InFlightRequests,
    ) -> None:
        self.abort_error: EngineError | None = None
        """The error with which all requests are to end: the supervisor has sent it, or cannot be understood."""
        self._client = client
        self._watchdog = watchdog
        self._job = job
        self._timings = job.timings
        self._channel = channel
        self._state = state
        self._in_flight = in_flight
        self._is_final = self._hang_reported = False
        self._next_engine: EngineAddress | None = None
        self._reconnecting: asyncio.Task[None] | None = None
        self._aborting: set[asyncio.Task[None]] = set()

    def lose(self, *, is_final: bool) -> None:
        """Have the requests wait for the next engine, or end if there is none for them."""
        self._is_final = is_final
        self._next_engine = None
        vllm_launcher.link(self._client).lose()
        self._in_flight.is_waiting = True
        if self._state.phase is Phase.READY:
            self._state.transition_to(Phase.LOADING)

    def use(self, engine: EngineAddress, timings: StartupTimings) -> None:
        """Connect to the next engine, and continue the requests with it, in the background."""
        self._reconnecting = asyncio.create_task(self._use(engine, timings))

    async def _use(self, engine: EngineAddress, timings: StartupTimings) -> None:
        self._next_engine = engine
        self._timings.continue_from(timings)
        self._timings.mark_done(StartupStep.LOADING)
        self._channel.send(WarmingUp())
        try:
            with startup_errors.explain_startup_errors(self._job.log):
                core = await run_in_background(partial(vllm_launcher.connect_again, self._client, engine))
        except EngineError as error:
            if self._next_engine is engine:
                self.abort_error = error
            return
        if self._next_engine is not engine:  # it has died meanwhile
            core.shutdown()
            return
        self._watchdog.begin()
        await vllm_launcher.link(self._client).resume(core)
        if self._next_engine is not engine:
            return
        self._hang_reported = self._in_flight.is_waiting = False
        if self._state.phase is Phase.LOADING:
            self._state.transition_to(Phase.READY)
        self._timings.mark_done(StartupStep.WARMING_UP)
        self._timings.mark_done(StartupStep.READY)
        self._channel.send(Ready(index=self._job.index))

    def abort_client(self, number: int) -> None:
        """Have the engine abort the requests of an API process that has died, in the background."""
        if not vllm_launcher.link(self._client).is_lost:
            task = asyncio.create_task(vllm_launcher.abort_client(self._client, number))
            self._aborting.add(task)
            task.add_done_callback(self._aborting.discard)

    def check(self, options: ServingOptions, *, is_busy: bool, stops: bool) -> None:
        """End requests that have waited too long, and report an engine that hangs while it `is_busy`.

        Raises EngineError if all requests are to end with it. Without an engine, they are when this process `stops`.
        """
        if self.abort_error is not None:
            raise self.abort_error
        link = vllm_launcher.link(self._client)
        if self._is_final or (link.is_lost and stops):
            raise process_errors.died(self._job.log)
        link.expire(options.resume_timeout)
        seconds = self._watchdog.stalled_seconds(busy=is_busy)
        limit = self._watchdog.limit_seconds(options.engine_timeout)
        if seconds > limit and not self._in_flight.is_waiting and not self._hang_reported:
            self._hang_reported = True
            error = EngineError(
                msg("The engine hangs: it made no step for {seconds} s.", seconds=Number(seconds, ".0f")),
                process_errors.see_log(self._job.log),
            )
            self._channel.send(EngineHangs(ErrorReport.of(error)))
