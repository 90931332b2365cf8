"""Starts, monitors and stops the fork server, the engine process and the API processes."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

from ...errors import EngineError, MariTalkError
from ..cluster.node_messages import Agreement
from ..messaging.error_report import ErrorReport
from ..startup.launch import Launch
from ..status.startup_timings import StartupStep, StartupTimings
from . import process_errors, process_tree
from .api_processes import ApiProcesses, address_count
from .api_watchdog import api_watchdog
from .async_tasks import run_in_background
from .connection_relay import ConnectionRelay
from .engine_host import EngineHost
from .engine_jobs import EngineJobs, update_options
from .fork_server_client import Event, ForkServerClient, ProcessEnded
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
    Retire,
    Started,
    TransferredConnection,
    UpdateLost,
    WarmingUp,
)
from .start_progress import StartProgress

STOP_SECONDS = 8
"""Grace period after the last request, before processes that still run are killed."""

E = TypeVar("E", bound=Event)


class EngineManager:
    """The fork server and what it has forked: the engine process and the API processes, or a follower's workers."""

    def __init__(
        self,
        launch: Launch,
        host: EngineHost,
        folder: Path,
        timings: StartupTimings,
        on_leaving: Callable[[], object],
        *,
        wait: bool = False,
    ) -> None:
        """Start the fork server. `folder` is for its sockets and temporary files.

        `on_leaving` is called when no API process listens any more: the loading server takes over. `wait`: the API
        processes open the port only when this engine is to `take_over`. Raises EngineError.
        """
        self._launch = launch
        self._host = host
        self._relay = ConnectionRelay(host.loading_server, on_leaving)
        self._folder = folder
        self._timings = timings
        self._is_follower = launch.group is not None and not launch.group.is_leader
        self._node = NodeEnvironment(launch, folder)
        self._running: dict[int, JobName] = {}  # by pid
        self._has_imported = False
        self._progress = StartProgress(launch.settings, host.console, host.state)
        self._is_ready = self._is_forking = False  # the engine, and the fork server
        self._failure: MariTalkError | None = None
        self._fork_server = ForkServerClient(
            launch, host.listener, folder, host.console.engine_event, host.log, host.fork_server_command
        )
        self._api = ApiProcesses(self._fork_server, launch.api_processes, folder, timings, host.state, wait=wait)

    @property
    def fork_server_alive(self) -> bool:
        """Whether the fork server still runs."""
        return self._fork_server.is_alive

    @property
    def session(self) -> int:
        """The fork server's pid, and the session of what it has forked (process_tree.kill_session)."""
        return self._fork_server.pid

    @property
    def keeps_requests(self) -> bool:
        """Whether the API processes can outlive the engine, and keep their requests and the port."""
        can_wait = self._api.is_serving and not self._api.is_ending
        return self._launch.settings.resume_requests and can_wait and self._fork_server.is_alive

    @property
    def is_hung(self) -> bool:
        """Whether an API process hangs and has survived SIGKILL for STOP_SECONDS."""
        return self._api.silent_seconds() > self._launch.settings.api_timeout + STOP_SECONDS

    async def import_and_prepare(self) -> None:
        """Wait until vLLM is imported and the model's files are in the format that it reads.

        Raises MariTalkError, also when the start exceeds --start-timeout.
        """
        launch = self._launch
        self._progress.begin(launch.settings)
        with self._progress.running():
            self._progress.skip_log()
            if not self._has_imported:
                await self._wait_for(Imported)
                self._has_imported = True
                self._timings.mark_done(StartupStep.IMPORTING)
            if launch.source.must_be_prepared:
                self._fork_server.fork(Prepare(profile=launch.source.name, folder=Path(launch.source.location)))
                await self._wait_until_started()
                await self._wait_for(ProcessEnded)
                self._timings.mark_done(StartupStep.PREPARING)

    async def start_engine(self, agreement: Agreement) -> None:
        """Fork an engine process, and API processes unless some are left, or a follower's workers; wait until ready.

        `agreement` has the values that the leader has decided for all nodes. Raises MariTalkError, also when this and
        `import_and_prepare` together exceed --start-timeout.
        """
        with self._progress.running():
            # An API process that lives on has a heartbeat meanwhile; a new one, once it is ready.
            async with self._api_watchdog():
                await self._start_engine(agreement)

    async def _start_engine(self, agreement: Agreement) -> None:
        launch = self._launch
        self._progress.skip_log()
        environment = await self._node.environment(self._progress.show)
        if self._node.has_ray and self._is_follower:  # Ray starts this node's workers when the leader asks
            self._timings.mark_done(StartupStep.LOADING)
            self._timings.mark_done(StartupStep.READY)
            return
        jobs = EngineJobs(launch, self._host.listener, environment, agreement)
        if self._is_follower:
            self._fork_server.fork(jobs.run_follower())
            await self._wait_until_started()
            await self._wait_for(Ready)
        else:
            self._fork_server.fork(jobs.run(address_count(self._api.count)))
            await self._wait_until_started()
            await self._start_or_reconnect_api(jobs)
        self._is_ready = True
        self._timings.mark_done(StartupStep.LOADING if self._is_follower else StartupStep.WARMING_UP)
        self._timings.mark_done(StartupStep.READY)

    async def _start_or_reconnect_api(self, jobs: EngineJobs) -> None:
        launched = await self._wait_for(EngineLaunched)
        if self._api.is_serving:
            await self._wait_for(Loaded)
        self._api.use_engine(launched.addresses, jobs)
        for index in range(self._api.count):
            if self._api.connect(index):
                await self._wait_until_started()
        while not self._api.are_connected:
            ready = await self._wait_for(Ready)
        await run_in_background(partial(self._launch.kv_record.store, ready.kv_cache_tokens, ready.max_model_len))

    def update(self, launch: Launch) -> None:
        """Use the reloaded `launch`, and send its options to the API processes, which apply them when they read it."""
        self._launch = launch
        self._api.send(update_options(launch, self._host.state))

    async def wait_for_exit(self) -> None:
        """Wait until the engine, the last API process or a follower's workers exit. Always raises EngineError."""
        if self._node.has_ray and self._is_follower:
            await self._node.wait_for_ray_exit()
        async with self._api_watchdog():
            await self._wait_for(ProcessEnded)
        raise EngineError("The server's API process ended by itself.", process_errors.see_log(self._engine_log))

    def _api_watchdog(self) -> contextlib.AbstractAsyncContextManager[None]:
        return api_watchdog(self._fork_server, self._api, lambda: self._launch.settings)

    async def _wait_until_started(self) -> None:
        """Wait until the process for the last job runs. Raises EngineError if the fork server died or hangs."""
        self._is_forking = True
        try:
            async with asyncio.timeout(self._launch.settings.api_timeout):
                await self._wait_for(Started)
        except TimeoutError:
            self._is_forking = False
            self._fork_server.kill()
            raise process_errors.fork_server_hangs(self._launch.settings.api_timeout, self._engine_log) from None

    async def abort_requests(self, error: MariTalkError) -> None:
        """Abort all in-flight requests with `error`, and wait up to STOP_SECONDS for the API processes to exit."""
        self.reject_requests(error)
        await self._wait_for_exit_within(STOP_SECONDS, self._api.pids)

    def retire(self) -> None:
        """Have the API processes leave the port to the loading server, finish what is in flight, and exit."""
        self._api.end(Retire(is_succeeded=False))

    def take_over(self, predecessor: "EngineManager", launch: Launch, timings: StartupTimings) -> None:
        """Serve at the port in place of `predecessor`, whose API processes finish what is in flight, and exit.

        `launch`: as for `update`. `timings` are continued from those of this engine's start.
        """
        self.update(launch)
        timings.continue_from(self._timings)
        self._timings = self._api.timings = timings
        self._api.open_port()
        predecessor._relay.successor = self._api
        predecessor._api.end(Retire(is_succeeded=True))

    def reject_requests(self, error: MariTalkError) -> None:
        """Have the API processes answer all in-flight requests with `error`, and exit."""
        self._api.end(AbortRequests(ErrorReport.of(error)))

    async def cleanup(self, *exclude: int, spared_sessions: Collection[int] = ()) -> None:
        """Kill what the engine has left, so that its memory is free for the next, and remove its shared memory.

        API processes that keep their requests live on, and so does what process_tree.kill_engine spares. The last
        messages of the dead processes are consumed: the next start must not read them.
        """
        # A process that begins later would not be killed, and its end be taken for that of the next.
        await self._process_messages_until(lambda: not self._is_forking, STOP_SECONDS)
        kept = set(self._api.serving_pids.values()) if self.keeps_requests else set()
        self._api.is_ending = not kept
        pids = (self.session, *exclude, *kept)
        await run_in_background(partial(process_tree.kill_engine, self._folder, *pids, spared_sessions=spared_sessions))
        await self._wait_for_exit_within(STOP_SECONDS, self._running.keys() - kept)
        self._failure = None

    def kill_fork_server(self) -> None:
        """Kill the fork server; processes that it has forked live on."""
        self._fork_server.kill()

    def close(self) -> None:
        """Close all descriptors. Call it before another manager replaces this one."""
        self._fork_server.close()
        self._api.close()

    async def _wait_for_exit_within(self, seconds: float, pids: Collection[int]) -> None:
        """Wait until none of these processes is left, for `seconds` at most."""
        await self._process_messages_until(lambda: not self._running.keys() & set(pids), seconds)

    async def _process_messages_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Process messages until the condition holds, for `seconds` at most. Failures are not raised."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    with contextlib.suppress(MariTalkError):
                        await self._process_next()

    async def stop(self, drain_timeout: float) -> None:
        """Have API processes drain, then the engine exit, within `drain_timeout` and STOP_SECONDS; kill the rest."""
        self._api.terminate()
        await self.finish(drain_timeout)

    async def finish(self, drain_timeout: float) -> None:
        """As `stop`, for API processes that drain already."""
        deadline = time.monotonic() + drain_timeout + STOP_SECONDS
        await self._wait_for_exit_within(deadline - time.monotonic(), self._api.pids)
        if (pid := self._engine_pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await self._wait_for_exit_within(deadline - time.monotonic(), {pid})
        await self.end()

    async def end(self) -> None:
        """Kill the fork server and all that it has started, and close all descriptors."""
        self.close()
        await run_in_background(partial(process_tree.kill_session, self._folder, self.session))

    @property
    def _engine_pid(self) -> int | None:
        return next((pid for pid, job in self._running.items() if job is JobName.RUN), None)

    @property
    def _engine_log(self) -> Path:
        return self._launch.settings.engine_log

    async def _wait_for(self, *expected: type[E]) -> E:
        """Process messages up to one of these types, and return it. Raises the errors of `_process_next`."""
        while not isinstance(event := await self._process_next(), expected):
            pass
        return event

    async def _process_next(self) -> Event | None:
        """Process one message, and return it; None for the end of a process with which its task is not at an end.

        Raises MariTalkError if a process reports a failure, exits with an error, or exceeds the deadline.
        """
        try:
            event = await self._next_event()
        except EngineError as late:  # a process has failed, and does not exit
            raise self._take_failure() or late from late
        if event is None:
            self._running.clear()
            self._is_forking = self._is_ready = False
            self._api.mark_all_ended()
            log_hint = process_errors.see_log(self._engine_log)
            raise self._take_failure() or EngineError("The engine's processes ended unexpectedly.", log_hint)
        match event:
            case Importing():
                self._progress.show("Importing vLLM")
            case Progress():
                self._progress.show(event.text, event.fraction)
            case Started(job, pid, index):
                self._running[pid] = job
                self._is_forking = False
                if job is JobName.SERVE:
                    self._api.mark_started(index, pid)
            case Loaded():
                self._host.console.loaded()
            case WarmingUp() if StartupStep.LOADING not in self._timings.seconds:  # the first API process of a start
                self._timings.mark_done(StartupStep.LOADING)
                self._host.state.set_step("Warming up")
                self._host.console.warming_up()
            case Ready(index=index):
                self._api.mark_ready(index, update_options(self._launch, self._host.state))
            case Leaving(index):
                if self._api.mark_leaving(index):
                    self._relay.leave_port()
            case TransferredConnection():
                self._relay.pass_on(event, are_leaving=self._api.are_leaving)
            case EngineHangs(report):
                if (hung := self._engine_pid) is not None:
                    self._fork_server.kill_forked(hung, report.to_error())
            case EngineExited():
                how = "" if self._is_ready else event.text
                self._failure = self._failure or await process_errors.engine_exited(how, self._engine_log)
            case Failed(report):
                self._failure = self._failure or report.to_error()  # its process exits by itself
            case ProcessEnded(job, code, pid):
                self._running.pop(pid, None)
                if self._failure is None and code != 0:
                    self._failure = process_errors.exited(job, code, self._engine_log)
                if self._end_api(pid) if job is JobName.SERVE else self._end_engine(job):
                    return None  # API processes continue, or answer their requests with an error and exit
                if (failure := self._take_failure()) is not None:
                    raise failure
            case Imported() | EngineLaunched() | WarmingUp() | ApiHeartbeat() | UpdateLost():
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
        was_ready, self._is_ready = self._is_ready, False
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
            self._is_ready = False
            return False
        if not self._api.is_ending:
            if (reason := self._take_failure()) is not None:
                self._host.console.engine_event(process_errors.api_replaced(reason))
            self._is_forking = self._api.replace(index) or self._is_forking
            if self._api.are_used_up and (engine := self._engine_pid) is not None:
                self._fork_server.kill_forked(engine, process_errors.no_connection_left())
        return True

    async def _next_event(self) -> Event | None:
        """The next event. Raises EngineError if a start takes too long."""
        try:
            return await self._progress.wait_for(self._fork_server.next_event)
        except TimeoutError:
            if not self._has_imported:  # a fork server whose import hangs cannot fork
                self._fork_server.kill()
            raise self._progress.late_error() from None

    def send_step(self, step: str, fraction: float | None) -> None:
        """Have API processes that wait for the next engine show the step of its start."""
        self._api.send(Progress.of(step, fraction))
