"""The process that owns the port, the states and the signals. It imports neither torch nor vllm."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import setproctitle
import uvicorn

from ..engine.environment import engine_environment
from ..errors import EngineError, MariTalkError, Unavailable, UsageError, from_message
from ..settings import Settings
from . import lifeline
from .channel import Channel, Message
from .console import Console
from .fetching import fetched
from .gate import Gate
from .launch import Launch
from .listener import listen, local_url, url
from .web import WebServer

STOP_SECONDS = 8
"""From the order to stop to the moment when what still runs is killed."""


def supervise(launch: Launch, console: Console) -> None:
    """Serve until SIGTERM or SIGINT. Raises PortError, and what keeps the model from being served."""
    listener = listen(launch.host, launch.port)
    setproctitle.setproctitle(f"maritalk-serve {url(listener)}")
    lifeline.adopt_orphans()
    asyncio.run(_Supervisor(launch, listener, console).run())


class _Supervisor:
    def __init__(self, launch: Launch, listener: socket.socket, console: Console) -> None:
        self._launch = launch
        self._listener = listener
        self._console = console
        self._gate = Gate()
        self._door = _Door(uvicorn.Config(self._gate, lifespan="off", log_config=None, access_log=False))
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._backend_pid: int | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Listen, load, hand the port over, and stay until told to stop or until the engine ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        # A copy, since the door closes what it listens on when it hands over, and the port stays ours.
        answering = loop.create_task(self._door.serve(sockets=[self._listener.dup()]))
        self._console.starting(self._launch.name, self._launch.notes, self._launch.log)
        with tempfile.TemporaryDirectory(prefix="maritalk-", ignore_cleanup_errors=True) as folder:
            serving = loop.create_task(self._serve(Path(folder)))
            stopping = loop.create_task(self._stopping.wait())
            try:
                await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
                self._gate.refuse(Unavailable("The server is stopping."))
            except MariTalkError as error:
                self._gate.refuse(error)
                raise
            finally:
                self._console.stop()
                self._door.hand_over()
                serving.cancel()
                shared_memory = lifeline.shared_memory_of_workers(Path(folder))
                await self._stop_backend()
                if self._channel is not None:
                    loop.remove_reader(self._channel)
                lifeline.end_descendants()
                if self._nursery is not None:
                    self._nursery.wait()
                lifeline.remove(shared_memory)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(answering, timeout=1)

    def _start_nursery(self, folder: Path) -> Channel:
        ours, theirs = Channel.pair()
        descriptors = (theirs.fileno(), self._listener.fileno())
        plan = self._launch.plan
        with _log_file(self._launch.log) as log:
            self._nursery = subprocess.Popen(
                # -P: a folder named vllm in the working directory must not be taken for the package.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "maritalk_vllm.server.nursery",
                    plan.device,
                    str(descriptors[0]),
                    str(os.getpid()),
                ],
                pass_fds=descriptors,
                # Ctrl-C in a terminal is this process's business alone, and no signal meant for it reaches the others.
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=engine_environment(plan, folder),
            )
        theirs.close()
        asyncio.get_running_loop().add_reader(ours, self._take_message, ours)
        self._channel = ours
        return ours

    def _take_message(self, channel: Channel) -> None:
        message = channel.receive()
        self._messages.put_nowait(message)
        if message is None:  # the end of a channel stays readable for ever
            asyncio.get_running_loop().remove_reader(channel)

    async def _serve(self, folder: Path) -> None:
        """From the weights to the engine's end."""
        if self._launch.fetch is not None:
            await fetched(self._launch.fetch, self._console)
            self._launch = self._launch.again()
        launch = self._launch
        channel = self._start_nursery(folder)
        await self._until("imported")
        if launch.must_be_prepared:
            channel.send({"job": "prepare", "profile": launch.name, "location": launch.location})
            await self._until("ended")
        channel.send(
            {
                "job": "serve",
                "engine_args": launch.engine_args,
                "socket": self._listener.fileno(),
                "time_unit": launch.time_unit,
                "log": str(launch.log),
            }
        )
        await self._until("ready")
        self._door.hand_over()
        self._gate.open(local_url(self._listener))
        self._announce()
        await self._until("ended")
        raise EngineError("The server's API process ended by itself.", f"vLLM's log says why: {launch.log}")

    async def _until(self, event: str) -> None:
        """Follow the messages up to this event. Raises what another process says or shows to have failed."""
        while True:
            message = await self._messages.get()
            if message is None:  # the nursery has ended, and the kernel has ended what was below it
                self._backend_pid = None
                raise EngineError("The engine's processes ended unexpectedly.", f"vLLM's log: {self._launch.log}")
            match message["event"]:
                case "importing":
                    self._console.progress("Importing vLLM")
                case "progress":
                    self._console.progress(message["step"], message.get("fraction"))
                case "started" if message["job"] == "serve":
                    self._backend_pid = message["pid"]
                case "loaded":
                    self._console.loaded()
                case "warming_up":
                    self._console.warming_up()
                case "failed":
                    raise from_message(message)
                case "ended":
                    self._backend_pid = None
                    if message["exit_code"] != 0:
                        raise EngineError(
                            f"The process that was to {message['job']} the model ended with {message['exit_code']}.",
                            f"vLLM's log says why: {self._launch.log}",
                        )
            if message["event"] == event:
                return

    def _announce(self) -> None:
        port = self._listener.getsockname()[1]
        arguments = "" if port == Settings().port else f"port={port}"
        self._console.listening(url(self._listener), arguments=arguments, unit=self._launch.time_unit)

    async def _stop_backend(self) -> None:
        """Let the API process end by itself; it is killed with the rest if it takes too long."""
        if self._backend_pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._backend_pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError, MariTalkError):
            await asyncio.wait_for(self._until("ended"), STOP_SECONDS)


class _Door(WebServer):
    """Lets the gate answer until the API process takes the port over."""

    def hand_over(self) -> None:
        """Accept no more, at once; requests that wait in the gate go on."""
        for server in getattr(self, "servers", ()):
            server.close()
        self.should_exit = True


@contextlib.contextmanager
def _log_file(path: Path) -> Iterator[int]:
    """vLLM's log, new for each start; the one before is kept beside it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            path.replace(path.with_name(path.name + ".1"))
        log = path.open("ab", buffering=0)
    except OSError as error:
        raise UsageError(f"vLLM's log cannot be written to {path}: {error.strerror}.", "Choose --log-file.") from error
    with log:
        # What goes wrong in this process is written there as well: stdout is for people.
        logging.basicConfig(filename=path, level=logging.WARNING, force=True)
        yield log.fileno()
