"""The processes below the supervisor: started, listened to, told to end, and swept away."""

import asyncio
import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..engine.environment import HOST_IP, engine_environment, group_environment
from ..engine.progress import loading_step, log_size
from ..errors import EngineError, MariTalkError, from_message, to_message
from ..hardware.route import route_to
from ..settings import DistributedBackend
from . import lifeline
from .answering import Answering
from .channel import Channel, Message
from .console import Console
from .deadline import Deadline
from .history import History, Step
from .launch import Launch
from .log import Log
from .ray_node import ADDRESS, MODE, RayNode, joins_a_cluster
from .state import Phase, State

# -P: a folder named vllm in the working directory must not be taken for the package.
NURSERY = (sys.executable, "-P", "-m", "maritalk_vllm.server.nursery")
"""The command of the process below the supervisor. The device, a channel and the supervisor's id are added to it."""

STOP_SECONDS = 8
"""From the end of the last request to the moment when what still runs is killed."""

_LOOK_SECONDS = 0.5
_SERVE, _PART = "serve", "run"


class EngineProcesses:
    """The nursery, and the API process with its engine that it has forked last."""

    def __init__(
        self,
        launch: Launch,
        listener: socket.socket,
        folder: Path,
        console: Console,
        state: State,
        history: History,
        answering: Answering,
        nursery: Sequence[str],
        log: Log,
    ) -> None:
        """Start the process whose command is `nursery`. `folder` is for its sockets and temporary files.

        `answering` goes on with the port when the API process leaves it.
        """
        self._log = log
        self._launch = launch
        self._answering = answering
        self._listener = listener
        self._folder = folder
        self._console = console
        self._state = state
        self._history = history
        self._job = _SERVE if launch.group is None or launch.group.leads else _PART
        self._ray: RayNode | None = None
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._backend_pid: int | None = None
        self._imported = self._prepared = False
        self._log_begins = 0
        self._deadline = Deadline(launch.start_timeout)
        self._serves = False
        self.are_alive = True
        """Whether the nursery is there to fork from."""
        self._channel, theirs = Channel.pair()
        self._nursery = self._start(nursery, theirs)
        theirs.close()
        asyncio.get_running_loop().add_reader(self._channel, self._take_message)

    async def prepare(self) -> None:
        """Until vLLM is imported and the model's files are as it reads them. Raises MariTalkError."""
        self._deadline = Deadline(self._launch.start_timeout)
        with self._deadline.running():
            await self._prepare()

    async def load(self, agreed: Message) -> None:
        """Until a new API process answers at the port, or this node's part of a group's engine is up.

        `agreed`: what a group's head has told. Raises MariTalkError, also when this and `prepare` take too long.
        """
        with self._deadline.running():
            await self._load(agreed)

    async def _prepare(self) -> None:
        launch = self._launch
        self._log_begins = log_size(launch.log)
        if not self._imported:
            await self._until("imported")
            self._imported = True
            self._history.done(Step.IMPORTING)
        if launch.must_be_prepared and not self._prepared:
            self._channel.send({"job": "prepare", "profile": launch.name, "location": launch.location})
            await self._until("ended")
            self._prepared = True
            self._history.done(Step.PREPARING)

    async def _load(self, agreed: Message) -> None:
        launch = self._launch
        self._log_begins = log_size(launch.log)
        # A name server may take its time.
        environment = await asyncio.to_thread(self._environment)
        if self._ray_starts_here:
            environment |= await self._start_ray(environment)
            if self._job == _PART:  # Ray starts this node's workers, as node 0's engine asks for them
                self._history.done(Step.LOADING)
                self._history.done(Step.READY)
                return
        self._channel.send(
            {
                "job": self._job,
                "engine_args": _agreed(launch.engine_args, agreed),
                "environment": environment,
                "socket": self._listener.fileno(),
                "time_unit": launch.time_unit,
                "history": self._history.to_message(),
                "log": str(launch.log),
                **self._changeable(),
            }
        )
        await self._until("ready")
        self._serves = True
        self.take(self._launch)
        self._history.done(Step.WARMING_UP if self._job == _SERVE else Step.LOADING)
        self._history.done(Step.READY)

    def take(self, launch: Launch) -> None:
        """What has changed since the start holds for the API process, as soon as it can be told."""
        self._launch = launch
        if self._serves:
            self._channel.send({"job": "tell", "word": self._changeable()})

    def _changeable(self) -> Message:
        """What of an API process's order may change while it serves."""
        return {
            "access": self._launch.access.to_message(),
            "files": self._state.files,
            "drain_timeout": self._launch.drain_timeout,
            "engine_timeout": self._launch.engine_timeout,
        }

    async def ended(self) -> None:
        """Until the API process, or this node's part, ends by itself. Always raises EngineError."""
        if self._ray is not None and self._job == _PART:
            await self._ray.ended()
        await self._until("ended")
        raise EngineError("The server's API process ended by itself.", self._see_log)

    async def dismiss(self, error: MariTalkError) -> None:
        """Have the API process end at once, for a reason that it tells all whose requests are under way."""
        self._channel.send({"job": "tell", "word": to_message(error)})
        await self._seen_off(STOP_SECONDS)

    async def clear(self, *but: int) -> None:
        """Sweep, and hear the last of what is gone, so that the next start does not."""
        self.sweep(*but)
        await self._seen_off(STOP_SECONDS)

    async def _seen_off(self, seconds: float) -> None:
        if self._backend_pid is not None:
            with contextlib.suppress(TimeoutError, MariTalkError):
                await asyncio.wait_for(self._until("ended"), seconds)

    async def stop(self, drain_timeout: float) -> None:
        """Let the API process end by itself; what is left is killed by whoever calls."""
        if self._backend_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._backend_pid, signal.SIGTERM)
            await self._seen_off(drain_timeout + STOP_SECONDS)
        self.sweep()
        self._close()

    @property
    def _ray_starts_here(self) -> bool:
        group = self._launch.group
        return group is not None and group.backend is DistributedBackend.RAY and not joins_a_cluster()

    async def _start_ray(self, environment: dict[str, str]) -> dict[str, str]:
        """This node's place in a cluster of Ray's; what the engine has to know of that. Raises EngineError."""
        launch = self._launch
        assert launch.group is not None
        everything = {**engine_environment(launch.plan, self._folder, launch.cache_dir), **environment}
        log = launch.log.with_suffix(".ray")
        self._ray = RayNode(launch.group, everything[HOST_IP], launch.plan.workers_here, everything, log)
        self._show("Starting Ray")
        await self._ray.start()
        return {ADDRESS: self._ray.address, MODE: "token"}

    def _environment(self) -> dict[str, str]:
        """What this start adds to the nursery's: an address may be another than at the last one. Raises EngineError."""
        group = self._launch.group
        if group is None:
            return {}
        try:
            return group_environment(route_to(group.head))
        except OSError as error:
            raise EngineError(f"This node has no way to {group.head}: {error.strerror}.") from error

    @property
    def _see_log(self) -> str:
        return f"vLLM's log says why: {self._launch.log}"

    def _start(self, nursery: Sequence[str], theirs: Channel) -> "subprocess.Popen[bytes]":
        descriptors = (theirs.fileno(), self._listener.fileno())
        plan = self._launch.plan
        with _started():
            return subprocess.Popen(
                [*nursery, plan.device, str(descriptors[0]), str(os.getpid())],
                pass_fds=descriptors,
                # Ctrl-C in a terminal is the supervisor's business alone.
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=self._log.fileno(),
                stderr=self._log.fileno(),
                env=engine_environment(plan, self._folder, self._launch.cache_dir),
            )

    def _take_message(self) -> None:
        message = self._channel.receive()
        self._messages.put_nowait(message)
        if message is None:
            self._close()

    def _close(self) -> None:
        self.are_alive = False
        # The end of a channel stays readable for ever.
        asyncio.get_running_loop().remove_reader(self._channel)

    def sweep(self, *but: int) -> None:
        """Kill what the API process has left, so that its memory is free for the next, and remove its shared memory.

        `but` are the supervisor's other processes.
        """
        shared_memory = lifeline.shared_memory_of_workers(self._folder)
        lifeline.end_descendants(self._nursery.pid, *but)
        lifeline.remove(shared_memory)

    async def _until(self, event: str) -> None:
        """Follow the messages up to this event. Raises what another process says or shows to have failed."""
        failure: MariTalkError | None = None
        while True:
            try:
                message = await self._next_message()
            except EngineError as late:  # of a process that has failed, and does not end
                raise failure or late from late
            if message is None:  # the nursery has ended, and the kernel has ended what was below it
                self._backend_pid, self._serves = None, False
                raise failure or EngineError("The engine's processes ended unexpectedly.", self._see_log)
            match message["event"]:
                case "importing":
                    self._show("Importing vLLM")
                case "progress":
                    self._show(message["step"], message.get("fraction"))
                case "started" if message["job"] == self._job:
                    self._backend_pid = message["pid"]
                case "loaded":
                    self._console.loaded()
                case "warming_up":
                    self._history.done(Step.LOADING)
                    self._state.at("Warming up")
                    self._console.warming_up()
                case "leaving":
                    if self._state.phase is Phase.READY:
                        self._state.to(Phase.LOADING)  # again, as soon as that process has ended
                    self._answering.begin()
                case "connection":
                    read = b64decode(message["read"])
                    self._answering.adopt(message["descriptor"], read, is_used=message["is_used"])
                case "failed":
                    failure = from_message(message)  # whose process ends by itself
                case "ended":
                    self._backend_pid, self._serves = None, False
                    if failure is not None:
                        raise failure
                    if message["exit_code"] != 0:
                        raise self._ended_with(message["job"], message["exit_code"])
            if message["event"] == event:
                return

    async def _next_message(self) -> Message | None:
        """The next, and meanwhile what vLLM's log tells of how far loading is. Raises EngineError when it is late."""
        while (left := self._deadline.left) < math.inf:
            if left <= 0:
                raise self._too_late()
            try:
                return await asyncio.wait_for(self._messages.get(), min(_LOOK_SECONDS, left))
            except TimeoutError:
                if step := loading_step(self._launch.log, self._log_begins):
                    self._console.progress(step.text)
                    self._state.at(*step)
        return await self._messages.get()

    def _too_late(self) -> EngineError:
        """The error of a start that takes too long. An import that hangs is nothing to fork from."""
        if not self._imported:
            self._nursery.kill()
            self._close()
        limit, step = self._launch.start_timeout, self._state.step or "Starting its processes"
        return EngineError(
            f'The engine did not start within {limit:.0f} s: the step "{step}" took '
            f"{self._state.step_seconds:.0f} s of it.",
            f"If it only needs longer, raise --start-timeout. Its log: {self._launch.log}",
        )

    def _ended_with(self, job: str, code: int) -> EngineError:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return EngineError(f"The process that was to {job} the model {how}.", self._see_log)

    def _show(self, step: str, fraction: float | None = None) -> None:
        self._state.at(step, fraction)
        self._console.progress(step, fraction)


@contextlib.contextmanager
def _started() -> Iterator[None]:
    """Raises EngineError where the system starts no more processes for this user."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"The engine's process cannot be started: {error.strerror}.", "See the limits: ulimit -u and ulimit -v."
        ) from error


def _agreed(engine_args: list[str], agreed: Message) -> list[str]:
    """vLLM's flags with what the head has decided: it may have a little less memory free than this node, or more."""
    context = agreed.get("max_model_len")
    return engine_args if context is None else [*engine_args, "--max-model-len", str(int(context))]
