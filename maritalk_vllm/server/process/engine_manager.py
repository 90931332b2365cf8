"""Starts, monitors and stops the fork server and the API process with its engine."""

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

from ...engine.load_progress import log_size, read_loading_step
from ...errors import EngineError, MariTalkError
from ...i18n.message import Number, msg
from ..cluster.node_messages import Agreement
from ..loading.loading_server import LoadingServer
from ..messaging.error_report import ErrorReport
from ..startup.console import Console
from ..startup.launch import Launch
from ..status.server_state import ServerState
from ..status.startup_timings import StartupStep, StartupTimings
from . import process_tree
from .async_tasks import run_in_background
from .descriptors import Descriptor, InheritedDescriptor
from .fork_server_client import Event, ForkServerClient, ProcessEnded
from .heartbeat import CHECK_SECONDS
from .log_file import LogFile
from .node_environment import NodeEnvironment
from .process_messages import (
    AbortRequests,
    ApiHeartbeat,
    Failed,
    Imported,
    Importing,
    Job,
    JobName,
    Leaving,
    Loaded,
    Prepare,
    Progress,
    Ready,
    RunFollower,
    Serve,
    ServingOptions,
    Started,
    TransferredConnection,
    UpdateLost,
    UpdateOptions,
    WarmingUp,
)
from .start_deadline import StartDeadline

STOP_SECONDS = 8
"""Grace period after the last request, before processes that still run are killed."""

_log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.5
"""How often the load progress is read from vLLM's log."""


class EngineManager:
    """The fork server, and the last process that it forked: the API process, or a follower's workers."""

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
        self._job = JobName.RUN_FOLLOWER if self._is_follower else JobName.SERVE
        self._node = NodeEnvironment(launch, folder)
        self._pid: int | None = None  # of the API process, or of the follower's worker process
        self._has_imported = False
        self._log_start = 0
        self._deadline = StartDeadline(launch.settings.start_timeout)
        self._is_ready = False
        self._fork_server = ForkServerClient(launch, listener, folder, console.engine_died, log, fork_server_command)

    @property
    def fork_server_alive(self) -> bool:
        """Whether the fork server still runs."""
        return self._fork_server.is_alive

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
        """Fork an API process, or a follower's workers, and wait until it is ready.

        `agreement` has the values that the leader has decided for all nodes. Raises MariTalkError, also when this and
        `import_and_prepare` together exceed --start-timeout.
        """
        with self._deadline.running():
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
        engine_args = _with_agreed_context(launch.engine_args, agreement)
        if self._is_follower:
            self._fork_server.fork(self._follower_job(engine_args, environment))
        else:
            with self._fork_server.new_control_channel() as control_channel:
                self._fork_server.fork(self._serve_job(engine_args, environment, control_channel))
        await self._wait_until_started()
        await self._wait_for(Ready)
        self._is_ready = True
        self.update(self._launch)
        self._timings.mark_done(StartupStep.LOADING if self._is_follower else StartupStep.WARMING_UP)
        self._timings.mark_done(StartupStep.READY)

    def _serve_job(self, engine_args: list[str], environment: dict[str, str], control_channel: Descriptor) -> Job:
        settings = self._launch.settings
        return Serve(
            engine_args=engine_args,
            environment=environment,
            listener=InheritedDescriptor(self._listener.fileno()),
            control_channel=control_channel,
            time_unit=settings.time_unit,
            is_demo=self._launch.source.is_demo,
            timings=self._timings,
            log=settings.engine_log,
            options=self._serving_options(),
        )

    def _follower_job(self, engine_args: list[str], environment: dict[str, str]) -> Job:
        return RunFollower(
            engine_args=engine_args,
            environment=environment,
            listener=InheritedDescriptor(self._listener.fileno()),
            log=self._launch.settings.engine_log,
        )

    def update(self, launch: Launch) -> None:
        """Use the reloaded `launch`, and send its options to the API process, which applies them when it reads them."""
        self._launch = launch
        if self._is_ready:
            self._fork_server.send_control(UpdateOptions(self._serving_options()))

    def _serving_options(self) -> ServingOptions:
        return ServingOptions(
            access=self._launch.access,
            file_problems=self._state.files,
            drain_timeout=self._launch.settings.drain_timeout,
            engine_timeout=self._launch.settings.engine_timeout,
        )

    async def wait_for_exit(self) -> None:
        """Wait until the API process, or a follower's worker process, exits by itself. Always raises EngineError."""
        if self._node.has_ray and self._is_follower:
            await self._node.wait_for_ray_exit()
        watchdog = asyncio.get_running_loop().create_task(self._kill_when_hung())
        try:
            await self._wait_for(ProcessEnded)
        finally:
            watchdog.cancel()
        raise EngineError("The server's API process ended by itself.", self._log_hint)

    async def _kill_when_hung(self) -> None:
        """Kill an API process whose heartbeat stops. Followers send none: the leader's engine notices if they hang."""
        heartbeat, killed = self._fork_server.heartbeat, False
        heartbeat.beat()
        while not self._is_follower:
            await asyncio.sleep(CHECK_SECONDS)
            heartbeat.update()
            limit = self._launch.settings.api_timeout
            if heartbeat.silent_seconds > limit and self._pid is not None and not killed:
                error = EngineError(
                    msg("The API process hangs: it gave no sign of life for {limit} s.", limit=Number(limit, ".0f")),
                    self._log_hint,
                )
                self._fork_server.kill_forked(self._pid, error)
                killed = True

    async def _wait_until_started(self) -> None:
        """Wait until the process for the last job runs. Raises EngineError if the fork server died or hangs."""
        self._fork_server.heartbeat.beat()
        try:
            async with asyncio.timeout(self._launch.settings.api_timeout):
                await self._wait_for(Started)
        except TimeoutError:
            self._fork_server.kill()
            limit = Number(self._launch.settings.api_timeout, ".0f")
            text = msg("The fork server hangs: it started no process within {seconds} s.", seconds=limit)
            raise EngineError(text, self._log_hint) from None

    async def abort_requests(self, error: MariTalkError) -> None:
        """Abort all in-flight requests with `error`, and wait up to STOP_SECONDS for the API process to exit."""
        self._fork_server.send_control(AbortRequests(ErrorReport.of(error)))
        await self._wait_for_exit_within(STOP_SECONDS)

    async def cleanup(self, *exclude: int) -> None:
        """Kill the leftovers, and consume the last messages of the dead process, which the next start must not read.

        `exclude`: as for `kill_leftovers`.
        """
        await self.kill_leftovers(*exclude)
        await self._wait_for_exit_within(STOP_SECONDS)

    def kill_fork_server(self) -> None:
        """Kill the fork server; processes that it has forked live on."""
        self._fork_server.kill()

    def close(self) -> None:
        """Close all descriptors. Call it before another manager replaces this one."""
        self._fork_server.close()

    async def _wait_for_exit_within(self, seconds: float) -> None:
        if self._pid is not None:
            with contextlib.suppress(TimeoutError, MariTalkError):
                async with asyncio.timeout(seconds):
                    await self._wait_for(ProcessEnded)

    async def stop(self, drain_timeout: float) -> None:
        """Have the API process drain and exit within `drain_timeout` and STOP_SECONDS; then kill its leftovers."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            await self._wait_for_exit_within(drain_timeout + STOP_SECONDS)
        await self.kill_leftovers()
        self._fork_server.close()

    @property
    def _log_hint(self) -> str:
        return msg("vLLM's log says why: {log}", log=self._launch.settings.engine_log)

    async def kill_leftovers(self, *exclude: int) -> None:
        """Kill what the API process has left, so that its memory is free for the next, and remove its shared memory.

        `exclude`: pids of the supervisor's other processes, which live on.
        """

        def kill() -> None:
            shared_memory = process_tree.shared_memory_of_workers(self._folder)
            process_tree.kill_descendants(self._fork_server.pid, *exclude)
            process_tree.remove_files(shared_memory)

        await run_in_background(kill)  # it waits until they have exited

    async def _wait_for(self, expected: type[Event]) -> None:
        """Process messages up to one of this type.

        Raises MariTalkError if a process reports a failure, exits with an error, or exceeds the deadline.
        """
        failure: MariTalkError | None = None
        while True:
            try:
                event = await self._next_event()
            except EngineError as late:  # a process has failed, and does not exit
                raise failure or late from late
            if event is None:
                self._on_exit()
                raise failure or EngineError("The engine's processes ended unexpectedly.", self._log_hint)
            match event:
                case Importing():
                    self._show("Importing vLLM")
                case Progress():
                    self._show(event.text, event.fraction)
                case Started(job, pid) if job is self._job:
                    self._pid = pid
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
                case Failed(report):
                    failure = report.to_error()  # its process exits by itself
                case ProcessEnded(job, code):
                    self._on_exit()
                    if failure is not None:
                        raise failure
                    if code != 0:
                        raise self._exit_error(job, code)
                case Imported() | Started() | Ready():  # only waited for
                    pass
                case ApiHeartbeat() | UpdateLost():  # handled by ForkServerClient
                    pass
                case _:
                    assert_never(event)
            if isinstance(event, expected):
                return

    def _reclaim_port(self) -> bool:
        """Serve the port from the supervisor. False if that fails, as when too many files are open."""
        try:
            self._loading_server.start()
        except OSError as error:
            _log.error(f"The supervisor cannot answer at the port: {error.strerror}.")
            return False
        return True

    def _on_exit(self) -> None:
        """Forget the process that was forked last, and reset its heartbeat."""
        self._pid, self._is_ready = None, False
        self._fork_server.heartbeat.beat()

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
        limit, step = self._launch.settings.start_timeout, self._state.step or "Starting its processes"
        return EngineError(
            msg(
                'The engine did not start within {seconds} s: the step "{step}" took {taken} s of it.',
                seconds=Number(limit, ".0f"),
                step=step,
                taken=Number(self._state.step_seconds, ".0f"),
            ),
            msg("If it only needs longer, raise --start-timeout. Its log: {log}", log=self._launch.settings.engine_log),
        )

    def _exit_error(self, job: JobName, code: int) -> EngineError:
        how = msg("ended with {code}", code=code)
        if code < 0:
            how = msg("was killed by {name}", name=signal.Signals(-code).name)
        return EngineError(msg("The process that was to {job} the model {how}.", job=job, how=how), self._log_hint)

    def _show(self, step: str, fraction: float | None = None) -> None:
        self._state.set_step(step, fraction)
        self._console.progress(step, fraction)


def _with_agreed_context(engine_args: list[str], agreement: Agreement) -> list[str]:
    """vLLM's flags with the leader's context length: it may have a little less free memory than this node, or more."""
    context = agreement.max_model_len
    return engine_args if context is None else [*engine_args, "--max-model-len", str(context)]
