"""The supervisor: owns the port, the server state and the signals. It imports neither torch nor vllm."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import setproctitle

from ..errors import EngineError, MariTalkError, Unavailable
from ..hardware import resource_limits
from ..http.listener import listen, local_url, url
from ..settings import Settings
from ..stop_signals import StopSignals
from ..text_format import pluralize
from .cluster.coordinator import Coordinator, SingleNode, coordinator
from .cluster.node_lost import RESTART_HINT, NodeLost
from .cluster.node_messages import Agreement
from .loading.loading_server import LoadingServer
from .process import process_tree
from .process.async_tasks import cancel_and_wait
from .process.chat_process import ChatProcess
from .process.config_reload import ConfigReload
from .process.engine_manager import EngineManager
from .process.fork_server_client import FORK_SERVER_COMMAND
from .process.log_file import LogFile
from .process.maintenance import Maintenance
from .process.restart_policy import WINDOW_SECONDS, RestartPolicy
from .process.sighup import HangupSignal
from .startup.console import Console
from .startup.launch import Launch
from .status.sd_notify import SystemdNotifier
from .status.server_state import Phase, ServerState
from .status.startup_timings import StartupStep, StartupTimings

_STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")


def supervise(
    launch: Launch,
    console: Console,
    fork_server_command: Sequence[str] = FORK_SERVER_COMMAND,
    hangup: HangupSignal | None = None,
    config: Path | None = None,
    reload_settings: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    `fork_server_command` starts the fork server; tests pass a stub. `reload_settings` reads all settings again,
    including those in the file `config`. Raises PortError, and the MariTalkError for which the model cannot be served.
    """
    settings = launch.settings
    signals = StopSignals()
    listener = listen(settings.host, settings.port)
    setproctitle.setproctitle(f"maritalk-serve {url(listener)}")
    process_tree.become_subreaper()
    with (
        LogFile(settings.engine_log, settings.log_format, settings.log_max_mb * 1_000_000, settings.log_backups) as log,
        resource_limits.as_errors(),
    ):
        reload = ConfigReload(launch, config, reload_settings)
        hangup = hangup or HangupSignal()
        asyncio.run(_Supervisor(reload, listener, console, fork_server_command, log, signals, hangup).run())


class _Supervisor:
    def __init__(
        self,
        reload: ConfigReload,
        listener: socket.socket,
        console: Console,
        fork_server_command: Sequence[str],
        log: LogFile,
        signals: StopSignals,
        hangup: HangupSignal,
    ) -> None:
        self._signals = signals
        self._hangup = hangup
        self._chat = ChatProcess() if reload.launch.settings.interactive else None
        launch = reload.launch = self._with_chat_key(reload.launch)
        self._listener = listener
        self._console = console
        self._fork_server_command = fork_server_command
        self._log = log
        self._state = ServerState()
        self._maintenance = Maintenance(reload, log, self._state, (self._update_engine, self._update_loading_server))
        self._notifier = SystemdNotifier()
        self._timings = StartupTimings(launch.license_expires)
        self._loading_server = LoadingServer(
            listener, launch.access, self._state, self._timings, launch.settings.time_unit, launch.group
        )
        self._coordinator: Coordinator = SingleNode()
        self._engine: EngineManager | None = None
        self._scheme = "https" if launch.access.certificate else "http"
        self._was_ready = self._peers_joined = False
        self._signal_count = 0
        self._stop_requested = asyncio.Event()
        self._force_stop = asyncio.Event()

    async def run(self) -> None:
        """Listen, load, hand the port over, and run until a stop is requested or restarts are given up."""
        loop = asyncio.get_running_loop()
        self._signals.handle(self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_sighup)
        if self._hangup.received:
            self._on_sighup()
        self._loading_server.start()
        self._timings.mark_done(StartupStep.PORT)
        self._console.starting(self._launch.name, self._launch.notes, self._launch.settings.engine_log)
        self._notifier.status(f"Loading {self._launch.name}")
        with contextlib.closing(self._maintenance.folder):
            notifying = loop.create_task(self._notifier.feed_watchdog(self._engine_is_hung))
            serving = loop.create_task(self._serve())
            stopping = loop.create_task(self._stop_requested.wait())
            maintaining = loop.create_task(self._maintenance.run())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                self._state.transition_to(Phase.DRAINING)
                self._notifier.stopping("Finishing what runs")
                self._loading_server.fail(_STOPPING)
            except MariTalkError as error:
                self._state.transition_to(Phase.FAILED)
                self._notifier.stopping(error.message)
                self._loading_server.fail(error)
                self._coordinator.end_epoch(error)
                raise
            finally:
                self._console.stop()
                await cancel_and_wait(serving, maintaining)
                if self._chat is not None:
                    self._chat.stop()
                await self._wait_until_released()
                if self._engine is not None:
                    await self._engine.stop(self._launch.settings.drain_timeout)
                # Serve the port to the end, even if the API process was killed or exceeded its time.
                self._loading_server.start()
                await self._coordinator.close()
                await asyncio.to_thread(process_tree.kill_descendants)
                await self._loading_server.stop()
                notifying.cancel()

    @property
    def _launch(self) -> Launch:
        return self._maintenance.launch

    def _engine_is_hung(self) -> bool:
        return self._engine is not None and self._engine.is_hung

    def _update_engine(self, launch: Launch) -> None:
        if self._engine is not None:
            self._engine.update(launch)

    def _update_loading_server(self, launch: Launch) -> None:
        self._loading_server.update_access(launch.access)

    def _discard_fork_server(self) -> None:
        if self._engine is not None:
            self._engine.kill_fork_server()  # it and what it forks use the old folder

    def _on_signal(self, number: signal.Signals) -> None:
        """The first signal starts a drain; the second kills everything. A running chat handles Ctrl-C itself."""
        if number is not signal.SIGINT or self._chat is None or self._chat.pid is None:
            self._stop()

    def _on_sighup(self) -> None:
        """Reload the configuration and reopen the log; if the terminal was closed, stop as on SIGTERM."""
        if self._hangup.terminal_closed():
            self._console.silence()
            self._stop()
            return
        self._maintenance.reload()

    async def _wait_until_released(self) -> None:
        """Wait until the leader has drained and no longer needs this node. A second signal ends the wait."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(self._coordinator.wait_until_released()), loop.create_task(self._force_stop.wait())]
        await asyncio.wait(waits, timeout=self._launch.settings.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    def _stop(self) -> None:
        self._signal_count += 1
        self._stop_requested.set()
        if self._signal_count > 1:
            self._force_stop.set()
            process_tree.kill_descendants()

    async def _serve(self) -> None:
        """Download the weights, then run and restart the engine until it is given up. Raises MariTalkError."""
        if self._launch.fetch is not None:
            self._state.set_step("Downloading")
            await self._maintenance.download_weights(self._show_download)
            self._timings.mark_done(StartupStep.DOWNLOADING)
        self._coordinator = coordinator(self._launch.group, self._launch.plan, self._launch.name, self._launch.vllm)
        restarts = RestartPolicy(self._launch.settings.max_restarts)
        while True:
            try:
                await self._serve_once()
            except MariTalkError as problem:
                failed = problem if isinstance(problem, EngineError) else self._restart_error(problem)
                error = failed if isinstance(failed, NodeLost) else await self._coordinator.root_cause(failed)
                await self._cleanup_engine(error)
                delay = self._restart_delay(restarts, error)
                if delay is None:
                    raise self._give_up_error(error) from error
                self._begin_restart(error, delay)
                await asyncio.sleep(delay)

    def _restart_error(self, problem: MariTalkError) -> EngineError:
        """Convert `problem` so that a restart is retried: its cause, such as a full disk, may be temporary.

        Raises `problem` at a first start.
        """
        if not self._was_ready:
            raise problem
        return EngineError(problem.message, problem.hint)

    async def _serve_once(self) -> None:
        """Start an engine and run it until it fails; vLLM is imported only if no fork server is alive.

        Raises EngineError.
        """
        await self._maintenance.restore_files(self._discard_fork_server, self._show_download)
        if self._engine is None or not self._engine.fork_server_alive:
            if self._engine is not None:
                self._engine.close()
            self._log.start()
            self._engine = EngineManager(
                self._launch,
                self._listener,
                self._maintenance.folder.path,
                self._console,
                self._state,
                self._timings,
                self._loading_server,
                self._fork_server_command,
                self._log,
            )
        await self._engine.import_and_prepare()
        # Not earlier: the nodes start together as soon as all of them are idle.
        self._coordinator.report_idle()
        agreed = await self._coordinator.wait_for_peers(self._show_missing)
        self._peers_joined = True
        self._loading_server.hold_or_reject(None)
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._coordinator.wait_for_failure()),
            loop.create_task(self._run_engine(self._engine, agreed)),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            await cancel_and_wait(*tasks)

    async def _run_engine(self, engine: EngineManager, agreed: Agreement) -> None:
        """Load the model, announce that it is ready, and wait for the engine to exit. Raises EngineError."""
        await engine.start_engine(agreed)
        await self._maintenance.record_loaded()
        self._state.transition_to(Phase.READY)
        if self._serves_requests:
            self._loading_server.hand_over(local_url(self._listener, self._scheme))
        self._announce()
        await engine.wait_for_exit()

    @property
    def _serves_requests(self) -> bool:
        """Whether this node answers requests: true for a single node and for the leader."""
        return self._launch.group is None or self._launch.group.is_leader

    async def _cleanup_engine(self, error: EngineError) -> None:
        """Remove the engine's remains on this node, and have the other nodes do the same."""
        self._coordinator.end_epoch(error)
        if self._engine is not None:
            if self._serves_requests and self._state.phase is Phase.READY:
                # It still runs, since another node failed. One that exits by itself has answered its requests.
                await self._engine.abort_requests(error)
            await self._engine.cleanup(*self._excluded_pids())

    def _restart_delay(self, restarts: RestartPolicy, error: EngineError) -> float | None:
        """Seconds until the engine is restarted; None if it is not."""
        if not self._coordinator.counts_restarts:
            return 0.0 if self._peers_joined else None
        # A first start that fails is not retried: its error is printed at once. A lost node may reconnect at any time.
        return restarts.next_delay() if self._was_ready or isinstance(error, NodeLost) else None

    def _with_chat_key(self, launch: Launch) -> Launch:
        return launch if self._chat is None else self._chat.with_chat_key(launch)

    def _excluded_pids(self) -> list[int]:
        """The pids of processes that outlive the engine: the chat, if it runs."""
        return [] if self._chat is None or self._chat.pid is None else [self._chat.pid]

    def _show_step(self, step: str) -> None:
        self._state.set_step(step)
        self._console.progress(step)
        self._notifier.status(step)

    def _show_missing(self, step: str) -> None:
        self._show_step(step)
        # Requests wait during a first start. Later they are rejected: a lost node may take long to reconnect.
        if self._peers_joined and self._coordinator.has_missing_nodes:
            self._loading_server.hold_or_reject(Unavailable(f"{step}.", RESTART_HINT))

    def _show_download(self, step: str, fraction: float | None) -> None:
        # Without the model's name, which a probe must not show.
        self._state.set_step("Downloading", fraction)
        self._console.progress(step, fraction)

    def _begin_restart(self, error: EngineError, delay: float) -> None:
        died = error.message.rstrip(".")
        text = f"{died}: starting it again in {delay:.0f} s." if delay else f"{died}: starting it again now."
        if isinstance(error, NodeLost):
            text = f"{error.message} {RESTART_HINT}"
        self._console.engine_died(text)
        self._notifier.status(text)
        self._timings.reset()
        self._state.transition_to(Phase.LOADING)
        self._loading_server.start()
        if isinstance(error, NodeLost):
            self._loading_server.hold_or_reject(Unavailable(error.message, RESTART_HINT))

    def _give_up_error(self, error: EngineError) -> EngineError:
        if not self._was_ready or not self._launch.settings.max_restarts:
            return error
        times = f"{pluralize(self._launch.settings.max_restarts, 'time')} within {WINDOW_SECONDS // 60} minutes"
        return EngineError(f"{error.message} It was started again {times} before.", error.hint)

    def _announce(self) -> None:
        if not self._serves_requests:
            self._was_ready = True
            self._console.follower_ready()
            self._notifier.ready("This node's part of the model is up.")
            return
        address = url(self._listener, self._scheme)
        self._notifier.ready(f"Listening on {address}")
        if self._was_ready:
            self._console.listening_again(address)
            return
        self._was_ready = True
        port = self._listener.getsockname()[1]
        arguments = "" if port == Settings().port else f"port={port}"
        self._console.listening(address, arguments=arguments, unit=self._launch.settings.time_unit)
        if self._chat is not None:
            self._console.silence()
            self._chat.start(local_url(self._listener, self._scheme), on_exit=self._stop)
