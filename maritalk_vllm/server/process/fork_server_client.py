"""The supervisor's client of the fork server: its process, the processes that it forks, and their messages."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.environment import engine_environment
from ...errors import MariTalkError
from ...i18n.message import msg
from ..messaging.base_message import MessageError
from ..messaging.error_report import ErrorReport
from ..startup.launch import Launch
from ..status.summed_metrics import metrics_folder
from .api_connection import ApiConnection
from .ipc_channel import Channel, MessageLost
from .log_file import LogFile
from .process_errors import start_errors
from .process_messages import (
    JOBS,
    TO_SUPERVISOR,
    ApiHeartbeat,
    Control,
    Failed,
    Job,
    JobName,
    ReportChannel,
    Started,
    ToSupervisor,
    TransferredConnection,
    UpdateLost,
)

# -P: a folder named vllm in the working directory must not be taken for the package.
FORK_SERVER_COMMAND = (sys.executable, "-P", "-m", "maritalk_vllm.server.process.main_module")
"""The command of the fork server. The device, a channel's descriptor and the supervisor's pid are appended to it."""

_KILL_SECONDS = 2
"""How long to wait for a process after SIGKILL. It takes longer only if it waits for a disk or a device that hangs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """A forked process has ended, and no message of it is left. A negative `exit_code` is that of a signal."""

    job: JobName
    exit_code: int
    pid: int


Event = ToSupervisor | ProcessEnded


class ForkServerClient:
    """The fork server's process. The processes that it forks are the supervisor's children, and survive it."""

    def __init__(
        self,
        launch: Launch,
        listener: socket.socket,
        folder: Path,
        on_death: Callable[[str], None],
        log: LogFile,
        command: Sequence[str] = FORK_SERVER_COMMAND,
    ) -> None:
        """Start the fork server. `folder` is for its sockets and temporary files.

        `on_death` is called with a sentence if it ends while a process that it has forked runs. Raises EngineError.
        """
        self._on_death = on_death
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._forked: dict[int, int] = {}  # pid -> pidfd of each forked process
        self.connections = [ApiConnection() for _ in range(launch.api_processes)]
        """Channels to the API processes, by their indexes."""
        self.is_alive = True
        """Whether the fork server still runs."""
        with contextlib.ExitStack() as on_error, start_errors():
            self._channel, theirs = Channel.pair(TO_SUPERVISOR, JOBS)
            on_error.callback(self._channel.close)
            with contextlib.closing(theirs):
                self._process = _start(launch, listener, folder, theirs, log, command)
            on_error.callback(_kill, self._process)
            self._own_pidfds = [os.pidfd_open(self._process.pid)]  # empty once it has ended
            on_error.pop_all()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._on_readable)
        loop.add_reader(self._own_pidfds[0], self._on_own_exit)

    @property
    def pid(self) -> int:
        """The fork server's pid."""
        return self._process.pid

    def fork(self, job: Job) -> None:
        """Request a process for this job. Raises EngineError."""
        with start_errors():
            self._channel.send(job)

    def send_control(self, message: Control) -> None:
        """Send a message to all API processes, without waiting for them (`ApiConnection.send`)."""
        for connection in self.connections:
            connection.send(message)

    async def next_event(self) -> Event | None:
        """The next message or end of a process; None when all processes have ended."""
        return await self._events.get()

    def kill_forked(self, pid: int, error: MariTalkError) -> None:
        """Kill a forked process; `error` is received as if that process had reported it last."""
        self._events.put_nowait(Failed(ErrorReport.of(error)))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill the fork server. Forked processes live on."""
        self._process.kill()
        self.is_alive = False

    def close(self) -> None:
        """Kill the fork server if it still runs, wait for it, and close all descriptors. Called once, at the end."""
        self.is_alive = False
        if self._own_pidfds:
            _kill(self._process)
        for connection in self.connections:
            connection.close()
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        for pidfd in (*self._forked.values(), *self._own_pidfds):
            self._close_pidfd(pidfd)
        self._forked.clear()
        self._own_pidfds.clear()
        while not self._events.empty():
            if isinstance(event := self._events.get_nowait(), TransferredConnection):
                event.socket.close()

    def _on_readable(self) -> None:
        # The end of a process that the event loop noticed at the same time may have read the message already.
        if self._channel.has_message:
            self._read_message()

    def _read_message(self) -> bool:
        """Read one message. False if no process is left that could send another."""
        try:
            message = self._channel.receive()
        except MessageLost as error:
            _log.error(f"A message of the server's own processes was lost: {error.strerror}.")
            return True
        except MessageError as error:
            self._kill_all(error)
            return True
        match message:
            case None:
                asyncio.get_running_loop().remove_reader(self._channel)
                return False
            case ApiHeartbeat(index):
                self.connections[index].heartbeat.beat()
            case UpdateLost(index):
                self.connections[index].send_update_again()
            case Started(job, pid):
                self._events.put_nowait(message)
                self._watch_forked(pid, job)
            case _:
                self._events.put_nowait(message)
        return True

    def _kill_all(self, error: MessageError) -> None:
        """Handle an invalid message: end the process that may have sent it, as if that had reported `error`.

        All forked processes share the fork server's end of the channel, and the fork server itself is silent while one
        of them runs.
        """
        _log.error(error.message)
        self._events.put_nowait(Failed(ErrorReport.of(error)))
        for pid in self._forked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not self._forked:
            self.kill()

    def _read_pending(self) -> None:
        """Read all pending messages: those sent before an exit are handled before it."""
        while self._channel.has_message and self._read_message():
            pass

    def _watch_forked(self, pid: int, job: JobName) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it was killed and reaped meanwhile
            self._events.put_nowait(ProcessEnded(job, -signal.SIGKILL, pid))
            return
        self._forked[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._on_forked_exit, pid, job)

    def _on_forked_exit(self, pid: int, job: JobName) -> None:
        self._close_pidfd(self._forked.pop(pid))
        self._read_pending()
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # kill_descendants has killed and reaped it
            code = -signal.SIGKILL
        self._events.put_nowait(ProcessEnded(job, code, pid))
        self._report_end_if_none_left()

    def _on_own_exit(self) -> None:
        self._close_pidfd(self._own_pidfds.pop())
        self.is_alive = False
        self._read_pending()
        code = self._process.wait()
        if self._forked:
            how = (
                msg("was killed by {name}", name=signal.Signals(-code).name)
                if code < 0
                else msg("ended with {code}", code=code)
            )
            text = msg(
                "The fork server {how}. The engine keeps serving; if it has to restart, vLLM is imported again.",
                how=how,
            )
            _log.warning(text)
            self._on_death(text)
        self._report_end_if_none_left()

    def _report_end_if_none_left(self) -> None:
        if not self.is_alive and not self._forked:
            self._events.put_nowait(None)

    def _close_pidfd(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process, and wait for it, so that no zombie is left."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_SECONDS)


def _start(
    launch: Launch, listener: socket.socket, folder: Path, theirs: ReportChannel, log: LogFile, command: Sequence[str]
) -> "subprocess.Popen[bytes]":
    descriptors = (theirs.fileno(), listener.fileno())
    plan = launch.plan
    metrics = metrics_folder(folder) if launch.api_processes > 1 else None
    if metrics is not None:
        metrics.mkdir(exist_ok=True)
    with _sighup_blocked():
        return subprocess.Popen(
            [*command, plan.device, str(descriptors[0]), str(os.getpid())],
            pass_fds=descriptors,
            # Only the supervisor handles Ctrl-C in a terminal.
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            env=engine_environment(plan, folder, launch.settings.cache_dir, metrics),
        )


@contextlib.contextmanager
def _sighup_blocked() -> Iterator[None]:
    """Start a child with SIGHUP blocked: a signal stays pending until the child ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
