"""Starts, monitors and stops the fork server, the engine process and the API processes."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

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
from .fork_server_client import ForkServerClient, ProcessEnded
from .node_environment import NodeEnvironment
from .process_events import ProcessEvents
from .process_messages import AbortRequests, EngineLaunched, Imported, Loaded, Prepare, Progress, Ready, Retire
from .start_progress import StartProgress

STOP_SECONDS = 8
"""Grace period after the last request, before processes that still run are killed."""


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
        self._host = host
        self._relay = ConnectionRelay(host.loading_server, on_leaving)
        self._folder = folder
        self._is_follower = launch.group is not None and not launch.group.is_leader
        self._node = NodeEnvironment(launch, folder)
        self._progress = StartProgress(launch.settings, host.console, host.state)
        self._fork_server = ForkServerClient(
            launch, host.listener, folder, host.console.engine_event, host.log, host.fork_server_command
        )
        self._api = ApiProcesses(self._fork_server, launch.api_processes, folder, timings, host.state, wait=wait)
        self._events = ProcessEvents(launch, host, self._fork_server, self._api, self._relay, self._progress)

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
        return self._events.keeps_requests

    @property
    def is_hung(self) -> bool:
        """Whether an API process hangs and has survived SIGKILL for STOP_SECONDS."""
        return self._api.silent_seconds() > self._events.launch.settings.api_timeout + STOP_SECONDS

    async def import_and_prepare(self) -> None:
        """Wait until vLLM is imported and the model's files are in the format that it reads.

        Raises MariTalkError, also when the start exceeds --start-timeout.
        """
        launch = self._events.launch
        self._progress.begin(launch.settings)
        with self._progress.running():
            self._progress.skip_log()
            if not self._events.has_imported:
                await self._events.wait_for(Imported)
                self._api.timings.mark_done(StartupStep.IMPORTING)
            if launch.source.must_be_prepared:
                self._fork_server.fork(Prepare(profile=launch.source.name, folder=Path(launch.source.location)))
                await self._events.wait_until_started()
                await self._events.wait_for(ProcessEnded)
                self._api.timings.mark_done(StartupStep.PREPARING)

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
        launch = self._events.launch
        self._progress.skip_log()
        environment = await self._node.environment(self._progress.show)
        if self._node.has_ray and self._is_follower:  # Ray starts this node's workers when the leader asks
            self._api.timings.mark_done(StartupStep.LOADING)
            self._api.timings.mark_done(StartupStep.READY)
            return
        jobs = EngineJobs(launch, self._host.listener, environment, agreement)
        if self._is_follower:
            self._fork_server.fork(jobs.run_follower())
            await self._events.wait_until_started()
            await self._events.wait_for(Ready)
        else:
            self._fork_server.fork(jobs.run(address_count(self._api.count)))
            await self._events.wait_until_started()
            await self._start_or_reconnect_api(jobs)
        self._events.is_ready = True
        self._api.timings.mark_done(StartupStep.LOADING if self._is_follower else StartupStep.WARMING_UP)
        self._api.timings.mark_done(StartupStep.READY)

    async def _start_or_reconnect_api(self, jobs: EngineJobs) -> None:
        launched = await self._events.wait_for(EngineLaunched)
        if self._api.is_serving:
            await self._events.wait_for(Loaded)
        self._api.use_engine(launched.addresses, jobs)
        for index in range(self._api.count):
            if self._api.connect(index):
                await self._events.wait_until_started()
        while not self._api.are_connected:
            ready = await self._events.wait_for(Ready)
        await run_in_background(
            partial(self._events.launch.kv_record.store, ready.kv_cache_tokens, ready.max_model_len)
        )

    def update(self, launch: Launch) -> None:
        """Use the reloaded `launch`, and send its options to the API processes, which apply them when they read it."""
        self._events.launch = launch
        self._api.send(update_options(launch, self._host.state))

    async def wait_for_exit(self) -> None:
        """Wait until the engine, the last API process or a follower's workers exit. Always raises EngineError."""
        if self._node.has_ray and self._is_follower:
            await self._node.wait_for_ray_exit()
        async with self._api_watchdog():
            await self._events.wait_for(ProcessEnded)
        raise EngineError("The server's API process ended by itself.", process_errors.see_log(self._events.engine_log))

    def _api_watchdog(self) -> contextlib.AbstractAsyncContextManager[None]:
        return api_watchdog(self._fork_server, self._api, lambda: self._events.launch.settings)

    async def abort_requests(self, error: MariTalkError) -> None:
        """Abort all in-flight requests with `error`, and wait up to STOP_SECONDS for the API processes to exit."""
        self.reject_requests(error)
        await self._events.wait_until_ended(self._api.pids, STOP_SECONDS)

    def retire(self) -> None:
        """Have the API processes leave the port to the loading server, finish what is in flight, and exit."""
        self._api.end(Retire(is_succeeded=False))

    def take_over(self, predecessor: "EngineManager", launch: Launch, timings: StartupTimings) -> None:
        """Serve at the port in place of `predecessor`, whose API processes finish what is in flight, and exit.

        `launch`: as for `update`. `timings` are continued from those of this engine's start.
        """
        self.update(launch)
        timings.continue_from(self._api.timings)
        self._api.timings = timings
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
        await self._events.handle_until(lambda: not self._events.is_forking, STOP_SECONDS)
        kept = set(self._api.serving_pids.values()) if self.keeps_requests else set()
        self._api.is_ending = not kept
        pids = (self.session, *exclude, *kept)
        await run_in_background(partial(process_tree.kill_engine, self._folder, *pids, spared_sessions=spared_sessions))
        await self._events.wait_until_ended(self._events.running.keys() - kept, STOP_SECONDS)
        self._events.forget_failure()

    def kill_fork_server(self) -> None:
        """Kill the fork server; processes that it has forked live on."""
        self._fork_server.kill()

    def close(self) -> None:
        """Close all descriptors. Call it before another manager replaces this one."""
        self._fork_server.close()
        self._api.close()

    async def stop(self, drain_timeout: float) -> None:
        """Have API processes drain, then the engine exit, within `drain_timeout` and STOP_SECONDS; kill the rest."""
        self._api.terminate()
        await self.finish(drain_timeout)

    async def finish(self, drain_timeout: float) -> None:
        """As `stop`, for API processes that drain already."""
        deadline = time.monotonic() + drain_timeout + STOP_SECONDS
        await self._events.wait_until_ended(self._api.pids, deadline - time.monotonic())
        if (pid := self._events.engine_pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await self._events.wait_until_ended({pid}, deadline - time.monotonic())
        await self.end()

    async def end(self) -> None:
        """Kill the fork server and all that it has started, and close all descriptors."""
        self.close()
        await run_in_background(partial(process_tree.kill_session, self._folder, self.session))

    def send_step(self, step: str, fraction: float | None) -> None:
        """Have API processes that wait for the next engine show the step of its start."""
        self._api.send(Progress.of(step, fraction))
