"""The supervisor: owns the port, the server state and the signals. It imports neither torch nor vllm."""

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

import setproctitle

from ..errors import Unavailable
from ..hardware import resource_limits
from ..http.listener import listen, local_url, url
from ..http.port_owner import STOPPING_MARK
from ..settings import Settings
from ..stop_signals import StopSignals
from . import lifecycle_actions as actions
from . import lifecycle_events as events
from .cluster.node_messages import Agreement
from .engine_cycle import EngineCycle
from .lifecycle import Lifecycle, step
from .loading.loading_server import LoadingServer
from .process import process_tree
from .process.announcer import Announcer
from .process.async_tasks import cancel_and_wait
from .process.chat_process import ChatProcess
from .process.config_reload import ConfigReload
from .process.engine_host import EngineHost
from .process.engine_manager import EngineManager
from .process.engine_succession import EngineSuccession
from .process.fork_server_client import FORK_SERVER_COMMAND
from .process.log_file import LogFile
from .process.maintenance import Maintenance
from .process.sighup import HangupSignal
from .startup.console import Console
from .startup.data_dir import ReservedFolder
from .startup.launch import Launch
from .status.server_state import ServerState
from .status.startup_timings import StartupStep, StartupTimings
from .successor_start import SuccessorStart

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
    including those in the file `config`. Raises PortError, UsageError for --data-dir, and the MariTalkError for which
    the model cannot be served.
    """
    settings = launch.settings
    signals = StopSignals()
    resource_limits.raise_descriptors()
    listener = listen(settings.host, settings.port)
    reserved = ReservedFolder(settings, listener.getsockname()[1])
    setproctitle.setproctitle(f"maritalk-serve {url(listener)}")
    process_tree.become_subreaper()
    with (
        LogFile(settings.engine_log, settings.log_format, settings.log_max_mb * 1_000_000, settings.log_backups) as log,
        resource_limits.as_errors(),
        contextlib.closing(reserved),
    ):
        reload = ConfigReload(reserved.added_to(launch), config, reload_settings)
        hangup = hangup or HangupSignal()
        asyncio.run(_Supervisor(reload, listener, console, fork_server_command, log, signals, hangup).run())
        console.stopped()


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
        launch = reload.launch
        if self._chat is not None:
            launch = reload.launch = self._chat.with_chat_key(launch)
        self._listener = listener
        self._console = console
        self._state = ServerState()
        self._timings = StartupTimings(launch.license_expires)
        self._announcer = Announcer(console, self._state, self._timings)
        self._loading_server = LoadingServer(
            listener,
            launch.access,
            self._state,
            self._timings,
            launch.settings.time_unit,
            launch.group,
            is_demo=launch.source.is_demo,
        )
        host = EngineHost(
            listener=listener,
            loading_server=self._loading_server,
            console=console,
            state=self._state,
            log=log,
            fork_server_command=fork_server_command,
        )
        self._engines = EngineSuccession(host, self._timings, lambda: self._handle(events.EngineLeaving()))
        subscribers = (self._engines.update, self._show_launch, self._decide_replacement)
        self._maintenance = Maintenance(reload, log, self._state, subscribers)
        self._successor = SuccessorStart(self._maintenance, self._engines, self._handle)
        self._scheme = "https" if launch.access.certificate else "http"
        self._lifecycle = Lifecycle(
            is_follower=launch.group is not None and not launch.group.is_leader,
            max_restarts=launch.settings.max_restarts,
            # The nodes of a group agree on a length before they start.
            may_shorten=launch.group is None and launch.settings.max_model_len is None,
        )
        self._cycle = EngineCycle(
            maintenance=self._maintenance,
            engines=self._engines,
            successor=self._successor,
            announcer=self._announcer,
            state=self._state,
            timings=self._timings,
            chat=self._chat,
            handle=self._handle,
            api_serves=lambda: self._lifecycle.api_serves,
        )
        self._draining = asyncio.Event()
        self._killed = asyncio.Event()

    async def run(self) -> None:
        """Listen, load, hand the port over, and run until a stop is requested or restarts are given up."""
        loop = asyncio.get_running_loop()
        self._loading_server.start()
        self._timings.mark_done(StartupStep.PORT)
        self._announcer.starting(self._launch)
        self._signals.handle(self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_sighup)
        if self._hangup.received:
            self._on_sighup()
        with contextlib.ExitStack() as at_end:
            at_end.callback(lambda: self._maintenance.folder.close())
            notifying = loop.create_task(self._announcer.notifier.feed_watchdog(lambda: self._engines.is_hung))
            serving = loop.create_task(self._serve())
            draining = loop.create_task(self._draining.wait())
            maintaining = loop.create_task(self._maintenance.run())
            try:
                await asyncio.wait((serving, draining), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
            finally:
                self._console.stop()
                await cancel_and_wait(serving, maintaining)
                await self._shut_down()
                notifying.cancel()

    async def _serve(self) -> None:
        """Execute one long action after another. Raises the MariTalkError for which the engine is given up."""
        action = self._handle(events.StartDue())
        while action is not None:
            action = self._handle(await self._cycle.complete(action))

    def _handle(self, event: events.Event) -> actions.LongAction | None:
        """Execute the short actions that follow from `event`; return the long one, if there is one."""
        self._lifecycle, following = step(self._lifecycle, event, time.monotonic())
        if self._lifecycle.phase is not self._state.phase:
            self._state.transition_to(self._lifecycle.phase)
        for action in following:
            if isinstance(action, actions.LongAction):
                return action
            self._execute(action)
        return None

    def _execute(self, action: actions.ShortAction) -> None:
        match action:
            case actions.HoldRequests():
                self._loading_server.hold_or_reject(None)
            case actions.RejectRequests(error):
                self._loading_server.hold_or_reject(error)
            case actions.HandOver(is_first):
                self._hand_over(is_first=is_first)
            case actions.AnnounceRestarted():
                self._announcer.listening_again(url(self._listener, self._scheme))
            case actions.AnnounceFollower():
                self._announcer.follower_ready()
            case actions.ReportRestart(text):
                self._announcer.restarting(text)
            case actions.ShortenContext(max_model_len, text):
                self._cycle.shortened = Agreement(max_model_len=max_model_len)
                self._announcer.restarting(text)
            case actions.RetireApi():
                assert self._engine is not None
                self._successor.end()
                self._announcer.replacing(files_have_changed=self._maintenance.files_have_changed)
                self._engine.retire()
            case actions.StartSuccessor():
                self._announcer.starting_beside(files_have_changed=self._maintenance.files_have_changed)
                self._successor.begin()
            case actions.DiscardSuccessor():
                self._successor.discard()
            case actions.TakeOver():
                self._successor.end()
                self._maintenance.folder = self._engines.take_over(self._launch, self._maintenance.folder)
                self._cycle.shortened = None
                self._announcer.listening_again(url(self._listener, self._scheme))
            case actions.ReportSuccessorFailed(error):
                self._successor.end()
                self._announcer.staying(error)
            case actions.ReclaimPort():
                self._loading_server.start()
            case actions.GiveUp(error):
                self._announcer.notifier.stopping(error.message)
                self._loading_server.fail(error)
                if self._engine is not None:
                    self._engine.reject_requests(error)
                self._cycle.coordinator.end_epoch(error)
                raise error
            case actions.Drain():
                self._announcer.stopping(self._launch.settings.drain_timeout)
                setproctitle.setproctitle(f"{setproctitle.getproctitle()} {STOPPING_MARK}")
                self._loading_server.fail(_STOPPING)
                self._draining.set()
            case actions.KillProcesses():
                self._killed.set()
                # Not in the event loop: it waits until they have exited.
                threading.Thread(target=process_tree.kill_descendants, name="kill", daemon=True).start()
            case _:
                assert_never(action)

    async def _shut_down(self) -> None:
        """Let the other nodes and the API process finish, then kill what is left and close the port."""
        if self._chat is not None:
            await self._chat.stop()
        await self._wait_until_released()
        await self._engines.stop(self._launch.settings.drain_timeout)
        # Serve the port to the end, even if the API process was killed or exceeded its time.
        self._loading_server.start()
        await self._cycle.coordinator.close()
        await asyncio.to_thread(process_tree.kill_descendants)
        await self._loading_server.stop()

    async def _wait_until_released(self) -> None:
        """Wait until the leader has drained and no longer needs this node. A second signal ends the wait."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(self._cycle.coordinator.wait_until_released()), loop.create_task(self._killed.wait())]
        await asyncio.wait(waits, timeout=self._launch.settings.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    def _hand_over(self, *, is_first: bool) -> None:
        """Pass all requests to the API process, and announce the address; the chat starts with the first engine."""
        self._loading_server.hand_over(local_url(self._listener, self._scheme))
        address = url(self._listener, self._scheme)
        if not is_first:
            self._announcer.listening_again(address)
            return
        self._announcer.listening(address, self._listener.getsockname()[1], self._launch)
        if self._chat is not None:
            self._console.silence()
            self._chat.start(local_url(self._listener, self._scheme), on_exit=self._stop)

    @property
    def _launch(self) -> Launch:
        return self._maintenance.launch

    @property
    def _engine(self) -> EngineManager | None:
        return self._engines.current

    def _show_launch(self, launch: Launch) -> None:
        """Have the loading server and the metrics show what is served."""
        self._loading_server.update_access(launch.access)
        self._loading_server.is_demo = launch.source.is_demo
        self._timings.license_expires = launch.license_expires

    def _decide_replacement(self, _: Launch) -> None:
        self._successor.decide()

    def _on_signal(self, number: signal.Signals) -> None:
        """Stop, unless a running chat handles Ctrl-C itself."""
        if number is not signal.SIGINT or self._chat is None or self._chat.pid is None:
            self._stop()

    def _on_sighup(self) -> None:
        """Reload the configuration and reopen the log; if the terminal was closed, stop as on SIGTERM."""
        if self._hangup.terminal_closed():
            self._console.silence()
            self._stop()
            return
        self._maintenance.reload()

    def _stop(self) -> None:
        self._handle(events.StopRequested())
