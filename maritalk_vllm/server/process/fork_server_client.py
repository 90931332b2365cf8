"""The nursery as the supervisor sees it: its process, what it forks, and the messages of all of them."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...engine.environment import engine_environment
from ...errors import EngineError
from ..startup.launch import Launch
from .heartbeat import Heartbeat
from .ipc_channel import Channel, Message, MessageLost
from .log_file import LogFile

# -P: a folder named vllm in the working directory must not be taken for the package.
FORK_SERVER = (sys.executable, "-P", "-m", "maritalk_vllm.server.process.fork_server")
"""The command of the process below the supervisor. The device, a channel and the supervisor's id are added to it."""

_SAY_SECONDS = 0.2
"""How soon a word is sent again that a process did not take."""

_log = logging.getLogger(__name__)


class ForkServerClient:
    """The nursery's process. What it forks are the supervisor's children: they live on without it."""

    def __init__(
        self,
        launch: Launch,
        listener: socket.socket,
        folder: Path,
        died: Callable[[str], None],
        log: LogFile,
        command: Sequence[str] = FORK_SERVER,
    ) -> None:
        """Start it. `folder` is for sockets and temporary files; `died` is called if it ends while the engine serves.

        Raises EngineError.
        """
        self._died = died
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._forked: dict[int, int] = {}  # the processes that it has forked, and their pidfds
        self.heartbeat = Heartbeat()
        """Of the API process, from its first sign on."""
        self.is_alive = True
        """Whether there is a process to fork from."""
        with _started():
            self._channel, theirs = Channel.pair()
        self._words: Channel | None = None
        self._word: Message | None = None  # the latest, for a process that has not got it
        self._saying: asyncio.TimerHandle | None = None
        self._process = _start(launch, listener, folder, theirs, log, command)
        theirs.close()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._take_message)
        with _started():
            self._own = [os.pidfd_open(self._process.pid)]  # until it has ended
        loop.add_reader(self._own[0], self._ended)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def fork(self, order: Message) -> None:
        """Have it fork a process for this job. Raises EngineError."""
        self._close_words()
        with _started():
            self._words, theirs = Channel.pair()
            with contextlib.closing(theirs):
                self._channel.send({"job": "words"}, theirs.fileno())
                self._channel.send(order)

    def tell(self, word: Message) -> None:
        """Send a word to the process that was forked last, as soon as it takes one; only the latest word counts."""
        self._word = word
        self._say()

    def _say(self) -> None:
        """A process that hangs reads nothing, and the supervisor must not wait for it."""
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        if self._words is None or self._word is None:
            return
        try:
            self._words.send(self._word, wait=False)
        except OSError:  # it is behind, or this process has too many files open
            self._saying = asyncio.get_running_loop().call_later(_SAY_SECONDS, self._say)

    def _close_words(self) -> None:
        if self._saying is not None:
            self._saying.cancel()
        self._saying = self._word = None
        if self._words is not None:
            self._words.close()
            self._words = None

    async def next_message(self) -> Message | None:
        """The next message of a process, or `ended` with its `exit_code`; None when all of them are gone."""
        return await self._messages.get()

    def fail(self, pid: int, failure: Message) -> None:
        """Kill a process that was forked; `failure` is received as if it were that process's own last message."""
        self._messages.put_nowait(failure)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it: it hangs."""
        self._process.kill()
        self.is_alive = False

    def close(self) -> None:
        """Receive no more, and leave nothing open. It is called once, after the last use."""
        self.is_alive = False
        self._close_words()
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        for pidfd in (*self._forked.values(), *self._own):
            self._forget(pidfd)
        self._forked.clear()
        self._own.clear()
        while not self._messages.empty():
            if (message := self._messages.get_nowait()) is not None and "descriptor" in message:
                os.close(message["descriptor"])

    def _take_message(self) -> bool:
        """Take one message; False if no process is left that could send another."""
        try:
            message = self._channel.receive()
        except MessageLost as error:
            _log.error(f"A message of the server's own processes was lost: {error.strerror}.")
            return True
        if message is None:
            asyncio.get_running_loop().remove_reader(self._channel)
            return False
        match message["event"]:
            case "beat":
                self.heartbeat.heard()
                return True
            case "lost":  # it could not open the file of the latest word
                self._say()
                return True
            case "started":
                self._watch(message["pid"], message["job"])
        self._messages.put_nowait(message)
        return True

    def _take_all(self) -> None:
        """What was said before an end is heard before it."""
        while self._channel.has_message and self._take_message():
            pass

    def _watch(self, pid: int, job: str) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it was swept away meanwhile
            self._messages.put_nowait({"event": "ended", "job": job, "exit_code": -signal.SIGKILL})
            return
        self._forked[pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._forked_ended, pid, job)

    def _forked_ended(self, pid: int, job: str) -> None:
        self._forget(self._forked.pop(pid))
        self._take_all()
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # it was swept away, and seen off then
            code = -signal.SIGKILL
        self._messages.put_nowait({"event": "ended", "job": job, "exit_code": code})
        self._end_if_empty()

    def _ended(self) -> None:
        self._forget(self._own.pop())
        self.is_alive = False
        self._take_all()
        code = self._process.wait()
        if self._forked:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            text = f"The fork server {how}. The engine serves on; if it has to be started again, vLLM is imported anew."
            _log.warning(text)
            self._died(text)
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if not self.is_alive and not self._forked:
            self._messages.put_nowait(None)

    def _forget(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


def _start(
    launch: Launch, listener: socket.socket, folder: Path, theirs: Channel, log: LogFile, command: Sequence[str]
) -> "subprocess.Popen[bytes]":
    descriptors = (theirs.fileno(), listener.fileno())
    plan = launch.plan
    with _started(), _hangup_blocked():
        return subprocess.Popen(
            [*command, plan.device, str(descriptors[0]), str(os.getpid())],
            pass_fds=descriptors,
            # Ctrl-C in a terminal is the supervisor's business alone.
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log.fileno(),
            stderr=log.fileno(),
            env=engine_environment(plan, folder, launch.settings.cache_dir),
        )


@contextlib.contextmanager
def _hangup_blocked() -> Iterator[None]:
    """A process that is started here has SIGHUP blocked: the signal waits until the process ignores it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _started() -> Iterator[None]:
    """Raises EngineError where the system starts no more processes for this user."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"The engine's process cannot be started: {error.strerror}.", "See the limits: ulimit -u and ulimit -v."
        ) from error
