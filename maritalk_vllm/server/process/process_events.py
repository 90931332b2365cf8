"""The messages of an engine's processes and their ends, in order, and what follows from each at once."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar, assert_never

from ...errors import EngineError, MariTalkError
from ..startup.launch import Launch
from ..status.startup_timings import StartupStep
from . import process_errors
from .api_processes import ApiProcesses
from .connection_relay import ConnectionRelay
from .engine_host import EngineHost
from .engine_jobs import update_options
from .fork_server_client import Event, ForkServerClient, ProcessEnded
from .process_messages import (
    ApiHeartbeat,
    EngineExited,
    EngineHangs,
    EngineLaunched,
    EngineLost,
    Failed,
    Imported,
    Importing,
    JobName,
    Leaving,
    Loaded,
    Progress,
    Ready,
    Started,
    TransferredConnection,
    UpdateLost,
    WarmingUp,
)
from .start_progress import StartProgress

E = TypeVar("E", bound=Event)


class ProcessEvents:
    """Handles the events of one engine's processes while its manager waits for one of them, and knows which run."""

    def __init__(
        self,
        launch: Launch,
        host: EngineHost,
        fork_server: ForkServerClient,
        api: ApiProcesses,
        relay: ConnectionRelay,
        progress: StartProgress,
    ) -> None:
        self.launch = launch
        """The launch, with what was reloaded since."""
        self.running: dict[int, JobName] = {}
        """The job of each process that runs, by its pid."""
        self.has_imported = False
        """Whether the fork server has imported vLLM."""
        self.is_ready = False
        """Whether the engine is ready: set when its start has ended."""
        self.is_forking = False
        """Whether the process for a job has not begun yet."""
        self._failure: MariTalkError | None = None
        self._host = host
        self._fork_server = fork_server
        self._api = api
        self._relay = relay
        self._progress = progress

    @property
    def engine_pid(self) -> int | None:
        """The pid of the engine process."""
        return next((pid for pid, job in self.running.items() if job is JobName.RUN), None)

    @property
    def engine_log(self) -> Path:
        """vLLM's log."""
        return self.launch.settings.engine_log

    @property
    def keeps_requests(self) -> bool:
        """Whether the API processes can outlive the engine, and keep their requests and the port."""
        can_wait = self._api.is_serving and not self._api.is_ending
        return self.launch.settings.resume_requests and can_wait and self._fork_server.is_alive

    async def wait_for(self, *expected: type[E]) -> E:
        """Handle events up to one of these types, and return it. Raises the errors of `_handle_next`."""
        while not isinstance(event := await self._handle_next(), expected):
            pass
        return event

    async def wait_until_started(self) -> None:
        """Wait until the process for the last job runs. Raises EngineError if the fork server died or hangs."""
        self.is_forking = True
        try:
            async with asyncio.timeout(self.launch.settings.api_timeout):
                await self.wait_for(Started)
        except TimeoutError:
            self.is_forking = False
            self._fork_server.kill()
            raise process_errors.fork_server_hangs(self.launch.settings.api_timeout, self.engine_log) from None

    async def wait_until_ended(self, pids: Collection[int], seconds: float) -> None:
        """Handle events until none of these processes is left, for `seconds` at most. Failures are not raised."""
        await self.handle_until(lambda: not self.running.keys() & set(pids), seconds)

    async def handle_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Handle events until the condition holds, for `seconds` at most. Failures are not raised."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    with contextlib.suppress(MariTalkError):
                        await self._handle_next()

    def forget_failure(self) -> None:
        """Forget what processes have reported that are cleared away."""
        self._failure = None

    async def _handle_next(self) -> Event | None:
        """Handle one event, and return it; None for the end of a process with which its task is not at an end.

        Raises MariTalkError if a process reports a failure, exits with an error, or exceeds the deadline.
        """
        try:
            event = await self._next_event()
        except EngineError as late:  # a process has failed, and does not exit
            raise self._take_failure() or late from late
        if event is None:
            self.running.clear()
            self.is_forking = self.is_ready = False
            self._api.mark_all_ended()
            log_hint = process_errors.see_log(self.engine_log)
            raise self._take_failure() or EngineError("The engine's processes ended unexpectedly.", log_hint)
        match event:
            case Importing():
                self._progress.show("Importing vLLM")
            case Imported():
                self.has_imported = True
            case Progress():
                self._progress.show(event.text, event.fraction)
            case Started(job, pid, index):
                self.running[pid] = job
                self.is_forking = False
                if job is JobName.SERVE:
                    self._api.mark_started(index, pid)
            case Loaded():
                self._host.console.loaded()
            case WarmingUp() if StartupStep.LOADING not in self._api.timings.seconds:
                # Of the first API process of a start.
                self._api.timings.mark_done(StartupStep.LOADING)
                self._host.state.set_step("Warming up")
                self._host.console.warming_up()
            case Ready(index=index):
                self._api.mark_ready(index, update_options(self.launch, self._host.state))
            case Leaving(index):
                if self._api.mark_leaving(index):
                    self._relay.leave_port()
            case TransferredConnection():
                self._relay.pass_on(event, are_leaving=self._api.are_leaving)
            case EngineHangs(report):
                if (hung := self.engine_pid) is not None:
                    self._fork_server.kill_forked(hung, report.to_error())
            case EngineExited():
                how = "" if self.is_ready else event.text
                self._failure = self._failure or await process_errors.engine_exited(how, self.engine_log)
            case Failed(report):
                self._failure = self._failure or report.to_error()  # its process exits by itself
            case ProcessEnded(job, code, pid):
                self.running.pop(pid, None)
                if self._failure is None and code != 0:
                    self._failure = process_errors.exited(job, code, self.engine_log)
                if self._end_api(pid) if job is JobName.SERVE else self._end_engine(job):
                    return None  # API processes continue, or answer their requests with an error and exit
                if (failure := self._take_failure()) is not None:
                    raise failure
            case EngineLaunched() | WarmingUp() | ApiHeartbeat() | UpdateLost():
                pass  # only waited for, not the first, or handled by ForkServerClient
            case _:
                assert_never(event)
        return event

    def _take_failure(self) -> MariTalkError | None:
        """The first failure that a process has reported, or shown by its end, since the last call."""
        failure, self._failure = self._failure, None
        return failure

    def _end_engine(self, job: JobName) -> bool:
        """Handle the end of an engine. Returns whether API processes still have to answer requests with an error."""
        was_ready, self.is_ready = self.is_ready, False
        if job is not JobName.RUN:
            return False
        self._api.lose_engine()
        if not self._api.is_serving:
            return False
        self._api.is_ending = self._api.is_ending or not self.keeps_requests
        self._api.send(EngineLost(is_final=not self.keeps_requests))
        return was_ready and not self.keeps_requests

    def _end_api(self, pid: int) -> bool:
        """Handle the end of an API process. Returns whether others continue, or still end."""
        index = self._api.mark_ended(pid)
        if not self._api.go_on:
            self.is_ready = False
            return False
        if not self._api.is_ending:
            if (reason := self._take_failure()) is not None:
                self._host.console.engine_event(process_errors.api_replaced(reason))
            self.is_forking = self._api.replace(index) or self.is_forking
            if self._api.are_used_up and (engine := self.engine_pid) is not None:
                self._fork_server.kill_forked(engine, process_errors.no_connection_left())
        return True

    async def _next_event(self) -> Event | None:
        """The next event. Raises EngineError if a start takes too long."""
        try:
            return await self._progress.wait_for(self._fork_server.next_event)
        except TimeoutError:
            if not self.has_imported:  # a fork server whose import hangs cannot fork
                self._fork_server.kill()
            raise self._progress.late_error() from None
