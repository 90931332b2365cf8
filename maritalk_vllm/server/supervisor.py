"""The process that owns the port, the states and the signals. It imports neither torch nor vllm."""

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
from ..text_format import pluralize
from .cluster.coordinator import Coordinator, SingleNode, coordinator
from .cluster.node_lost import RESTART_HINT, NodeLost
from .loading.loading_server import LoadingServer
from .process import process_tree
from .process.async_tasks import cancelled
from .process.chat_process import ChatProcess
from .process.config_reload import ConfigReload
from .process.engine_manager import EngineManager
from .process.fork_server_client import FORK_SERVER
from .process.ipc_channel import Message
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
    nursery: Sequence[str] = FORK_SERVER,
    hangup: HangupSignal | None = None,
    config: Path | None = None,
    again: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, by the process whose command is `nursery`.

    `again` reads the settings anew, of which some are in the file `config`. Raises PortError, and what keeps the model
    from being served.
    """
    settings = launch.settings
    listener = listen(settings.host, settings.port)
    setproctitle.setproctitle(f"maritalk-serve {url(listener)}")
    process_tree.become_subreaper()
    with (
        LogFile(settings.engine_log, settings.log_format, settings.log_max_mb * 1_000_000, settings.log_backups) as log,
        resource_limits.as_errors(),
    ):
        reload = ConfigReload(launch, config, again)
        asyncio.run(_Supervisor(reload, listener, console, nursery, log, hangup or HangupSignal()).run())


class _Supervisor:
    def __init__(
        self,
        reload: ConfigReload,
        listener: socket.socket,
        console: Console,
        nursery: Sequence[str],
        log: LogFile,
        hangup: HangupSignal,
    ) -> None:
        self._hangup = hangup
        self._chat = ChatProcess() if reload.launch.settings.interactive else None
        launch = reload.launch = self._admitted(reload.launch)
        self._listener = listener
        self._console = console
        self._nursery = nursery
        self._log = log
        self._state = ServerState()
        self._upkeep = Maintenance(reload, log, self._state, (self._engine_takes, self._answering_takes))
        self._systemd = SystemdNotifier()
        self._history = StartupTimings(launch.license_expires)
        self._answering = LoadingServer(
            listener, launch.access, self._state, self._history, launch.settings.time_unit, launch.group
        )
        self._company: Coordinator = SingleNode()
        self._engine: EngineManager | None = None
        self._scheme = "https" if launch.access.certificate else "http"
        self._was_ready = self._gathered = False
        self._signals = 0
        self._stop_asked = asyncio.Event()
        self._hurried = asyncio.Event()

    async def run(self) -> None:
        """Listen, load, hand the port over, and stay until asked to stop or until the engine ends for good."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._take_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        if self._hangup.came:
            self._hang_up()
        self._answering.start()
        self._history.mark_done(StartupStep.PORT)
        self._console.starting(self._launch.name, self._launch.notes, self._launch.settings.engine_log)
        self._systemd.status(f"Loading {self._launch.name}")
        with contextlib.closing(self._upkeep.folder):
            living = loop.create_task(
                self._systemd.feed_watchdog(lambda: self._engine is not None and self._engine.hang)
            )
            serving = loop.create_task(self._serve())
            stopping = loop.create_task(self._stop_asked.wait())
            looking = loop.create_task(self._upkeep.look())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                self._state.transition_to(Phase.DRAINING)
                self._systemd.stopping("Finishing what runs")
                self._answering.fail(_STOPPING)
            except MariTalkError as error:
                self._state.transition_to(Phase.FAILED)
                self._systemd.stopping(error.message)
                self._answering.fail(error)
                self._company.end_epoch(error)
                raise
            finally:
                self._console.stop()
                await cancelled(serving, looking)
                if self._chat is not None:
                    self._chat.end()
                await self._until_left_alone()
                if self._engine is not None:
                    await self._engine.stop(self._launch.settings.drain_timeout)
                # Also where the API process was killed, or takes too long: the port is answered at to the end.
                self._answering.start()
                await self._company.close()
                await asyncio.to_thread(process_tree.kill_descendants)
                await self._answering.stop()
                living.cancel()

    @property
    def _launch(self) -> Launch:
        return self._upkeep.launch

    def _engine_takes(self, launch: Launch) -> None:
        if self._engine is not None:
            self._engine.take(launch)

    def _answering_takes(self, launch: Launch) -> None:
        self._answering.update_access(launch.access)

    def _leave_folder(self) -> None:
        if self._engine is not None:
            self._engine.abandon()  # its processes know the old folder

    def _take_signal(self, number: signal.Signals) -> None:
        """The first asks to finish what runs; the second ends it. Ctrl-C is the chat's, if there is one."""
        if number is not signal.SIGINT or self._chat is None or self._chat.pid is None:
            self._stop()

    def _hang_up(self) -> None:
        """Read again what can change, and open the log anew; without the terminal it has ended, as by SIGTERM."""
        if self._hangup.asks_to_end():
            self._console.silence()
            self._stop()
            return
        self._upkeep.reload()

    async def _until_left_alone(self) -> None:
        """While others drain that need what is here; a second signal ends that too."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(self._company.wait_until_released()), loop.create_task(self._hurried.wait())]
        await asyncio.wait(waits, timeout=self._launch.settings.drain_timeout, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    def _stop(self) -> None:
        self._signals += 1
        self._stop_asked.set()
        if self._signals > 1:
            self._hurried.set()
            process_tree.kill_descendants()

    async def _serve(self) -> None:
        """From the weights to the engine's last end. Raises MariTalkError."""
        if self._launch.fetch is not None:
            self._state.set_step("Downloading")
            await self._upkeep.fetch(self._show_fetching)
            self._history.mark_done(StartupStep.DOWNLOADING)
        self._company = coordinator(self._launch.group, self._launch.plan, self._launch.name, self._launch.vllm)
        restarts = RestartPolicy(self._launch.settings.max_restarts)
        while True:
            try:
                await self._serve_once()
            except MariTalkError as problem:
                failed = problem if isinstance(problem, EngineError) else self._of_a_restart(problem)
                error = failed if isinstance(failed, NodeLost) else await self._company.root_cause(failed)
                await self._clear_away(error)
                pause = self._pause(restarts, error)
                if pause is None:
                    raise self._given_up(error) from error
                self._load_again(error, pause)
                await asyncio.sleep(pause)

    def _of_a_restart(self, problem: MariTalkError) -> EngineError:
        """What ends a first start, such as a full disk, may be gone when the engine is started again the next time."""
        if not self._was_ready:
            raise problem
        return EngineError(problem.message, problem.hint)

    async def _serve_once(self) -> None:
        """From the first import, or from a fork where that was made before, to the engine's end. Raises EngineError."""
        await self._upkeep.make_good(self._leave_folder, self._show_fetching)
        if self._engine is None or not self._engine.fork_server_alive:
            if self._engine is not None:
                self._engine.close()
            self._log.begin()
            others = self._console, self._state, self._history, self._answering
            folder = self._upkeep.folder.path
            self._engine = EngineManager(self._launch, self._listener, folder, *others, self._nursery, self._log)
        await self._engine.prepare()
        # Not before: all nodes begin as soon as each of them is idle.
        self._company.report_idle()
        agreed = await self._company.wait_for_peers(self._show_missing)
        self._gathered = True
        self._answering.hold_or_reject(None)
        loop = asyncio.get_running_loop()
        both = [loop.create_task(self._company.wait_for_failure()), loop.create_task(self._stay(self._engine, agreed))]
        try:
            await asyncio.gather(*both)
        finally:
            await cancelled(*both)

    async def _stay(self, engine: EngineManager, agreed: Message) -> None:
        """From loading to the engine's end. Raises EngineError."""
        await engine.load(agreed)
        await self._upkeep.loaded()
        self._state.transition_to(Phase.READY)
        if self._answers:
            self._answering.hand_over(local_url(self._listener, self._scheme))
        self._announce()
        await engine.ended()

    @property
    def _answers(self) -> bool:
        """Whether requests are answered here, and not by another node."""
        return self._launch.group is None or self._launch.group.is_leader

    async def _clear_away(self, error: EngineError) -> None:
        """Leave nothing of the engine, here or on other nodes."""
        self._company.end_epoch(error)
        if self._engine is not None:
            if self._answers and self._state.phase is Phase.READY:
                # For another node's reason; else it has ended by itself, and has answered its requests.
                await self._engine.abort_requests(error)
            await self._engine.clear(*self._others())

    def _pause(self, restarts: RestartPolicy, error: EngineError) -> float | None:
        """Seconds until the engine is started again; None if it is not."""
        if not self._company.counts_restarts:
            return 0.0 if self._gathered else None
        # What never worked is not tried again: the cause is printed at once. A node may come back at any time.
        return restarts.next_delay() if self._was_ready or isinstance(error, NodeLost) else None

    def _admitted(self, launch: Launch) -> Launch:
        return launch if self._chat is None else self._chat.admitted(launch)

    def _others(self) -> list[int]:
        """The processes that outlive the engine."""
        return [] if self._chat is None or self._chat.pid is None else [self._chat.pid]

    def _show(self, step: str) -> None:
        self._state.set_step(step)
        self._console.progress(step)
        self._systemd.status(step)

    def _show_missing(self, step: str) -> None:
        self._show(step)
        # At a first start requests wait, as everywhere. Afterwards it is not known when a lost node comes back.
        if self._gathered and self._company.has_missing_nodes:
            self._answering.hold_or_reject(Unavailable(f"{step}.", RESTART_HINT))

    def _show_fetching(self, step: str, fraction: float | None) -> None:
        # A probe does not show which model it is.
        self._state.set_step("Downloading", fraction)
        self._console.progress(step, fraction)

    def _load_again(self, error: EngineError, pause: float) -> None:
        died = error.message.rstrip(".")
        text = f"{died}: starting it again in {pause:.0f} s." if pause else f"{died}: starting it again now."
        if isinstance(error, NodeLost):
            text = f"{error.message} {RESTART_HINT}"
        self._console.engine_died(text)
        self._systemd.status(text)
        self._history.reset()
        self._state.transition_to(Phase.LOADING)
        self._answering.start()
        if isinstance(error, NodeLost):
            self._answering.hold_or_reject(Unavailable(error.message, RESTART_HINT))

    def _given_up(self, error: EngineError) -> EngineError:
        if not self._was_ready or not self._launch.settings.max_restarts:
            return error
        times = f"{pluralize(self._launch.settings.max_restarts, 'time')} within {WINDOW_SECONDS // 60} minutes"
        return EngineError(f"{error.message} It was started again {times} before.", error.hint)

    def _announce(self) -> None:
        if not self._answers:
            self._was_ready = True
            self._console.follower_ready()
            self._systemd.ready("This node's part of the model is up.")
            return
        address = url(self._listener, self._scheme)
        self._systemd.ready(f"Listening on {address}")
        if self._was_ready:
            self._console.listening_again(address)
            return
        self._was_ready = True
        port = self._listener.getsockname()[1]
        arguments = "" if port == Settings().port else f"port={port}"
        self._console.listening(address, arguments=arguments, unit=self._launch.settings.time_unit)
        if self._chat is not None:
            self._console.silence()
            self._chat.begin(local_url(self._listener, self._scheme), ended=self._stop)
