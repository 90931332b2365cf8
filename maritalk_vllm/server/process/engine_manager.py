"""Starts, monitors and stops the fork server, the engine process and the API process."""

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

from ...engine.load_progress import log_size, read_loading_step
from ...engine.startup_errors import explain_exit
from ...errors import EngineError, MariTalkError
from ..cluster.node_messages import Agreement
from ..loading.loading_server import LoadingServer
from ..messaging.error_report import ErrorReport
from ..startup.console import Console
from ..startup.launch import Launch
from ..status.server_state import ServerState
from ..status.startup_timings import StartupStep, StartupTimings
from . import process_errors, process_tree
from .api_watchdog import api_watchdog
from .async_tasks import run_in_background
from .engine_jobs import EngineJobs, serving_options
from .fork_server_client import Event, ForkServerClient, ProcessEnded
from .log_file import LogFile
from .node_environment import NodeEnvironment
from .process_messages import (
    AbortRequests,
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
    Prepare,
    Progress,
    Ready,
    Started,
    TransferredConnection,
    UpdateLost,
    UpdateOptions,
    UseEngine,
    WarmingUp,
)
from .start_deadline import StartDeadline

STOP_SECONDS = 8
"""Grace period after the last request, before processes that still run are killed."""

_log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)

_PROGRESS_SECONDS = 0.5
"""How often the load progress is read from vLLM's log."""


class EngineManager:
    """The fork server and what it has forked: the engine process and the API process, or a follower's workers."""

    def __init__(
        self,
        launch: Launch,
        listener: socket.socket,
        folder: Path,
        console: Console,
        state: ServerState,
        timings: StartupTimings,
        loading_server: LoadingServer,
        fork_server_command: Sequence[str],
        log: LogFile,
        on_leaving: Callable[[], object],
    ) -> None:
        """Start the fork server by `fork_server_command`. `folder` is for its sockets and temporary files.

        `on_leaving` is called when the API process stops listening: `loading_server` takes over. Raises EngineError.
        """
        self._launch = launch
        self._loading_server = loading_server
        self._on_leaving = on_leaving
        self._listener = listener
        self._folder = folder
        self._console = console
        self._state = state
        self._timings = timings
        self._is_follower = launch.group is not None and not launch.group.is_leader
        self._node = NodeEnvironment(launch, folder)
        self._pids: dict[JobName, int] = {}  # of the forked processes that run
        self._has_imported = False
        self._log_start = 0
        self._deadline = StartDeadline(launch.settings.start_timeout)
        self._is_ready = False  # the engine
        self._api_is_ready = False
        self._is_forking = False
        self._failure: MariTalkError | None = None
        self._fork_server = ForkServerClient(launch, listener, folder, console.engine_died, log, fork_server_command)
        state.on_step = self._send_step

    @property
    def fork_server_alive(self) -> bool:
        """Whether the fork server still runs."""
        return self._fork_server.is_alive

    @property
    def keeps_requests(self) -> bool:
        """Whether the API process can outlive the engine, and keep its requests and the port."""
        return self._launch.settings.resume_requests and self._api_is_ready and self._fork_server.is_alive

    @property
    def is_hung(self) -> bool:
        """Whether the API process hangs and has survived SIGKILL for STOP_SECONDS."""
        return self._fork_server.heartbeat.silent_seconds > self._launch.settings.api_timeout + STOP_SECONDS

    async def import_and_prepare(self) -> None:
        """Wait until vLLM is imported and the model's files are in the format that it reads.

        Raises MariTalkError, also when the start exceeds --start-timeout.
        """
        self._deadline = StartDeadline(self._launch.settings.start_timeout)
        with self._deadline.running():
            await self._import_and_prepare()

    async def start_engine(self, agreement: Agreement) -> None:
        """Fork an engine process and, unless one is left, an API process, or a follower's workers; wait until ready.

        `agreement` has the values that the leader has decided for all nodes. Raises MariTalkError, also when this and
        `import_and_prepare` together exceed --start-timeout.
        """
        with self._deadline.running():
            # An API process that lives on has a heartbeat meanwhile; a new one, once it is ready.
            watchdog = self._api_watchdog() if self._api_is_ready else contextlib.nullcontext()
            async with watchdog:
                await self._start_engine(agreement)

    async def _import_and_prepare(self) -> None:
        launch = self._launch
        self._log_start = log_size(launch.settings.engine_log)
        if not self._has_imported:
            await self._wait_for(Imported)
            self._has_imported = True
            self._timings.mark_done(StartupStep.IMPORTING)
        if launch.source.must_be_prepared:
            self._fork_server.fork(Prepare(profile=launch.source.name, folder=Path(launch.source.location)))
            await self._wait_until_started()
            await self._wait_for(ProcessEnded)
            self._timings.mark_done(StartupStep.PREPARING)

    async def _start_engine(self, agreement: Agreement) -> None:
        launch = self._launch
        self._log_start = log_size(launch.settings.engine_log)
        environment = await self._node.environment(self._show)
        if self._node.has_ray and self._is_follower:  # Ray starts this node's workers when the leader asks
            self._timings.mark_done(StartupStep.LOADING)
            self._timings.mark_done(StartupStep.READY)
            return
        jobs = EngineJobs(launch, self._listener, environment, agreement)
        self._fork_server.fork(jobs.run(is_follower=self._is_follower))
        await self._wait_until_started()
        if self._is_follower:
            await self._wait_for(Ready)
        else:
            await self._start_or_reconnect_api(jobs)
        self._is_ready = True
        self._timings.mark_done(StartupStep.LOADING if self._is_follower else StartupStep.WARMING_UP)
        self._timings.mark_done(StartupStep.READY)

    async def _start_or_reconnect_api(self, jobs: EngineJobs) -> None:
        launched = await self._wait_for(EngineLaunched)
        if self._api_is_ready:
            await self._wait_for(Loaded)
            self._fork_server.send_control(UseEngine(launched.address, self._timings))
        else:
            with self._fork_server.new_control_channel() as control_channel:
                self._fork_server.fork(jobs.serve(launched.address, control_channel, self._timings, self._state))
            await self._wait_until_started()
        await self._wait_for(Ready)
        self._api_is_ready = True
        self.update(self._launch)

    def update(self, launch: Launch) -> None:
        """Use the reloaded `launch`, and send its options to the API process, which applies them when it reads them."""
        self._launch = launch
        if self._api_is_ready:
            self._fork_server.send_control(UpdateOptions(serving_options(launch, self._state)))

    async def wait_for_exit(self) -> None:
        """Wait until the API process, or a follower's worker process, exits by itself. Always raises EngineError."""
        if self._node.has_ray and self._is_follower:
            await self._node.wait_for_ray_exit()
        async with self._api_watchdog():
            await self._wait_for(ProcessEnded)
        raise EngineError("The server's API process ended by itself.", process_errors.see_log(self._engine_log))

    def _api_watchdog(self) -> contextlib.AbstractAsyncContextManager[None]:
        return api_watchdog(self._fork_server, lambda: self._launch.settings, lambda: self._pids.get(JobName.SERVE))

    async def _wait_until_started(self) -> None:
        """Wait until the process for the last job runs. Raises EngineError if the fork server died or hangs."""
        self._is_forking = True
        self._fork_server.heartbeat.beat()
        try:
            async with asyncio.timeout(self._launch.settings.api_timeout):
                await self._wait_for(Started)
        except TimeoutError:
            self._is_forking = False
            self._fork_server.kill()
            raise process_errors.fork_server_hangs(self._launch.settings.api_timeout, self._engine_log) from None

    async def abort_requests(self, error: MariTalkError) -> None:
        """Abort all in-flight requests with `error`, and wait up to STOP_SECONDS for the API process to exit."""
        self.reject_requests(error)
        await self._wait_for_exit_within(STOP_SECONDS, JobName.SERVE)

    def reject_requests(self, error: MariTalkError) -> None:
        """Have the API process answer all in-flight requests with `error`, and exit."""
        self._fork_server.send_control(AbortRequests(ErrorReport.of(error)))

    async def cleanup(self, *exclude: int) -> None:
        """Kill the leftovers, and consume the last messages of the dead processes, which the next start must not read.

        An API process that keeps its requests lives on. `exclude`: as for `kill_leftovers`.
        """
        # A process that begins later would not be killed, and its end be taken for that of the next.
        await self._process_messages_until(lambda: not self._is_forking, STOP_SECONDS)
        kept = {JobName.SERVE} if self.keeps_requests else set()
        await self.kill_leftovers(*exclude, *(self._pids[job] for job in kept))
        await self._wait_for_exit_within(STOP_SECONDS, *(set(JobName) - kept))
        self._failure = None

    def kill_fork_server(self) -> None:
        """Kill the fork server; processes that it has forked live on."""
        self._fork_server.kill()

    def close(self) -> None:
        """Close all descriptors. Call it before another manager replaces this one."""
        self._fork_server.close()

    async def _wait_for_exit_within(self, seconds: float, *jobs: JobName) -> None:
        """Wait until no process of these jobs is left, for `seconds` at most."""
        await self._process_messages_until(lambda: not self._pids.keys() & set(jobs), seconds)

    async def _process_messages_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Process messages until the condition holds, for `seconds` at most. Failures are not raised."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    with contextlib.suppress(MariTalkError):
                        await self._wait_for(Started, ProcessEnded)

    async def stop(self, drain_timeout: float) -> None:
        """Have the API process drain, then the engine exit, within `drain_timeout` and STOP_SECONDS; kill the rest."""
        deadline = time.monotonic() + drain_timeout + STOP_SECONDS
        for job in (JobName.SERVE, JobName.RUN):
            if (pid := self._pids.get(job)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                await self._wait_for_exit_within(deadline - time.monotonic(), job)
        await self.kill_leftovers()
        self._fork_server.close()

    @property
    def _engine_log(self) -> Path:
        return self._launch.settings.engine_log

    async def kill_leftovers(self, *exclude: int) -> None:
        """Kill what the engine has left, so that its memory is free for the next, and remove its shared memory.

        `exclude`: pids of the supervisor's other processes, which live on.
        """
        await run_in_background(partial(process_tree.kill_engine, self._folder, self._fork_server.pid, *exclude))

    async def _wait_for(self, *expected: type[E]) -> E:
        """Process messages up to one of these types, and return it.

        Raises MariTalkError if a process reports a failure, exits with an error, or exceeds the deadline.
        """
        while True:
            try:
                event = await self._next_event()
            except EngineError as late:  # a process has failed, and does not exit
                raise self._take_failure() or late from late
            if event is None:
                self._pids.clear()
                self._is_forking = False
                self._end_engine(JobName.SERVE)
                log_hint = process_errors.see_log(self._engine_log)
                raise self._take_failure() or EngineError("The engine's processes ended unexpectedly.", log_hint)
            match event:
                case Importing():
                    self._show("Importing vLLM")
                case Progress():
                    self._show(event.text, event.fraction)
                case Started(job, pid):
                    self._pids[job] = pid
                    self._is_forking = False
                case Loaded():
                    self._console.loaded()
                case WarmingUp():
                    self._timings.mark_done(StartupStep.LOADING)
                    self._state.set_step("Warming up")
                    self._console.warming_up()
                case Leaving():
                    self._on_leaving()
                    self._reclaim_port()
                case TransferredConnection() if self._reclaim_port():
                    self._loading_server.adopt(event.socket.number, event.read, is_used=event.is_used)
                case TransferredConnection():
                    event.socket.close()
                case EngineHangs(report):
                    if (hung := self._pids.get(JobName.RUN)) is not None:
                        self._fork_server.kill_forked(hung, report.to_error())
                case EngineExited():
                    self._failure = self._failure or await self._exit_error(event.text)
                case Failed(report):
                    self._failure = self._failure or report.to_error()  # its process exits by itself
                case ProcessEnded(job, code):
                    self._pids.pop(job, None)
                    if self._failure is None and code != 0:
                        self._failure = process_errors.exited(job, code, self._engine_log)
                    if self._end_engine(job):
                        continue  # the API process answers its requests with an error, and exits
                    if (failure := self._take_failure()) is not None:
                        raise failure
                case Imported() | EngineLaunched() | Ready() | ApiHeartbeat() | UpdateLost():
                    pass  # they are only waited for, or ForkServerClient handles them
                case _:
                    assert_never(event)
            if isinstance(event, expected):
                return event

    def _reclaim_port(self) -> bool:
        """Serve the port from the supervisor. False if that fails, as when too many files are open."""
        try:
            self._loading_server.start()
        except OSError as error:
            _log.error(f"The supervisor cannot answer at the port: {error.strerror}.")
            return False
        return True

    def _take_failure(self) -> MariTalkError | None:
        """The first failure that a process has reported, or shown by its end, since the last call."""
        failure, self._failure = self._failure, None
        return failure

    def _end_engine(self, job: JobName) -> bool:
        """Handle the end of a process. Returns whether the API process still has to answer requests with an error."""
        was_ready, self._is_ready = self._is_ready, False
        if job is JobName.SERVE:
            self._api_is_ready = False
            self._fork_server.heartbeat.beat()
        if job is not JobName.RUN or not self._api_is_ready:
            return False
        self._fork_server.send_control(EngineLost(is_final=not self.keeps_requests))
        return was_ready and not self.keeps_requests

    async def _next_event(self) -> Event | None:
        """The next event; meanwhile, show the load progress in vLLM's log. Raises EngineError after the deadline."""
        while (left := self._deadline.seconds_left) < math.inf:
            if left <= 0:
                raise self._timeout_error()
            try:
                async with asyncio.timeout(min(_PROGRESS_SECONDS, left)):
                    return await self._fork_server.next_event()
            except TimeoutError:
                if step := read_loading_step(self._launch.settings.engine_log, self._log_start):
                    self._console.progress(step.text)
                    self._state.set_step(*step)
        return await self._fork_server.next_event()

    def _timeout_error(self) -> EngineError:
        """The error of a start that takes too long. Kills a fork server whose import hangs: it cannot fork."""
        if not self._has_imported:
            self._fork_server.kill()
        return process_errors.late_start(self._launch.settings.start_timeout, self._state, self._engine_log)

    async def _exit_error(self, how: str) -> MariTalkError:
        """The error of an engine that exited during or after the start; `how`, or empty if that is unknown."""
        if self._is_ready or not how:
            return process_errors.died(self._engine_log)
        return await run_in_background(partial(explain_exit, self._engine_log, how))  # it waits for the log

    def _send_step(self, step: str, fraction: float | None) -> None:
        """Have an API process that waits for the next engine show the step of its start."""
        if self._api_is_ready:
            self._fork_server.send_control(Progress.of(step, fraction))

    def _show(self, step: str, fraction: float | None = None) -> None:
        self._state.set_step(step, fraction)
        self._console.progress(step, fraction)
