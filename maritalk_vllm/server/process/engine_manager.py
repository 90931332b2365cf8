"""The processes below the supervisor: started, listened to, told to end, and swept away."""

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

from ...engine.load_progress import log_size, read_loading_step
from ...errors import EngineError, MariTalkError, from_message, to_message
from ...models.atomic_install import is_installed
from ..loading.loading_server import LoadingServer
from ..startup.console import Console
from ..startup.launch import Launch
from ..status.server_state import Phase, ServerState
from ..status.startup_timings import StartupStep, StartupTimings
from . import process_tree
from .fork_server_client import ForkServerClient
from .heartbeat import LOOK_SECONDS
from .ipc_channel import Message
from .log_file import LogFile
from .node_environment import NodeEnvironment
from .start_deadline import StartDeadline

STOP_SECONDS = 8
"""From the end of the last request to the moment when what still runs is killed."""

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_SERVE, _PART = "serve", "run"


class EngineManager:
    """The nursery, and the API process with its engine that it has forked last."""

    def __init__(
        self,
        launch: Launch,
        listener: socket.socket,
        folder: Path,
        console: Console,
        state: ServerState,
        history: StartupTimings,
        answering: LoadingServer,
        nursery: Sequence[str],
        log: LogFile,
    ) -> None:
        """Start the process whose command is `nursery`. `folder` is for its sockets and temporary files.

        `answering` goes on with the port when the API process leaves it.
        """
        self._launch = launch
        self._answering = answering
        self._listener = listener
        self._folder = folder
        self._console = console
        self._state = state
        self._history = history
        self._job = _SERVE if launch.group is None or launch.group.is_leader else _PART
        self._node = NodeEnvironment(launch, folder)
        self._backend_pid: int | None = None
        self._imported = False
        self._log_begins = 0
        self._deadline = StartDeadline(launch.settings.start_timeout)
        self._serves = False
        self._server = ForkServerClient(launch, listener, folder, console.engine_died, log, nursery)

    @property
    def fork_server_alive(self) -> bool:
        """Whether there is a process to fork from."""
        return self._server.is_alive

    @property
    def hang(self) -> bool:
        """Whether the API process hangs, and cannot be killed either."""
        return self._server.heartbeat.silent_seconds > self._launch.settings.api_timeout + STOP_SECONDS

    async def prepare(self) -> None:
        """Until vLLM is imported and the model's files are as it reads them. Raises MariTalkError."""
        self._deadline = StartDeadline(self._launch.settings.start_timeout)
        with self._deadline.running():
            await self._prepare()

    async def load(self, agreed: Message) -> None:
        """Until a new API process answers at the port, or this node's part of a group's engine is up.

        `agreed`: what the leader of a group has decided. Raises MariTalkError, also when this and `prepare` take too
        long.
        """
        with self._deadline.running():
            await self._load(agreed)

    async def _prepare(self) -> None:
        launch = self._launch
        self._log_begins = log_size(launch.settings.engine_log)
        if not self._imported:
            await self._until("imported")
            self._imported = True
            self._history.mark_done(StartupStep.IMPORTING)
        if launch.needs_preparation and not is_installed(Path(launch.location)):
            await self._fork({"job": "prepare", "profile": launch.name, "location": launch.location})
            await self._until("ended")
            self._history.mark_done(StartupStep.PREPARING)

    async def _load(self, agreed: Message) -> None:
        launch = self._launch
        self._log_begins = log_size(launch.settings.engine_log)
        environment = await self._node.environment(self._show)
        if self._node.has_ray and self._job == _PART:  # Ray starts this node's workers when node 0 asks
            self._history.mark_done(StartupStep.LOADING)
            self._history.mark_done(StartupStep.READY)
            return
        await self._fork(
            {
                "job": self._job,
                "engine_args": _agreed(launch.engine_args, agreed),
                "environment": environment,
                "socket": self._listener.fileno(),
                "time_unit": launch.settings.time_unit,
                "history": self._history.to_message(),
                "log": str(launch.settings.engine_log),
                **self._changeable(),
            }
        )
        await self._until("ready")
        self._serves = True
        self.take(self._launch)
        self._history.mark_done(StartupStep.WARMING_UP if self._job == _SERVE else StartupStep.LOADING)
        self._history.mark_done(StartupStep.READY)

    def take(self, launch: Launch) -> None:
        """What has changed since the start holds for the API process as soon as that reads it."""
        self._launch = launch
        if self._serves:
            self._server.tell(self._changeable())

    def _changeable(self) -> Message:
        """What of an API process's order may change while it serves."""
        return {
            "access": self._launch.access.to_message(),
            "files": self._state.files,
            "drain_timeout": self._launch.settings.drain_timeout,
            "engine_timeout": self._launch.settings.engine_timeout,
        }

    async def ended(self) -> None:
        """Until the API process, or this node's part, ends by itself. Always raises EngineError."""
        if self._node.has_ray and self._job == _PART:
            await self._node.ray_ended()
        watching = asyncio.get_running_loop().create_task(self._watch())
        try:
            await self._until("ended")
        finally:
            watching.cancel()
        raise EngineError("The server's API process ended by itself.", self._see_log)

    async def _watch(self) -> None:
        """Kill an API process that hangs, which is its end. A node's part gives no signs: node 0's engine misses it."""
        heartbeat, killed = self._server.heartbeat, False
        heartbeat.heard()
        while self._job == _SERVE:
            await asyncio.sleep(LOOK_SECONDS)
            heartbeat.look()
            limit = self._launch.settings.api_timeout
            if heartbeat.silent_seconds > limit and self._backend_pid is not None and not killed:
                error = EngineError(f"The API process hangs: it gave no sign of life for {limit:.0f} s.", self._see_log)
                self._server.fail(self._backend_pid, {"event": "failed", **to_message(error)})
                killed = True

    async def _fork(self, order: Message) -> None:
        """Until there is a process for this job. Raises EngineError if the fork server is dead, or hangs."""
        self._server.fork(order)
        self._server.heartbeat.heard()
        try:
            async with asyncio.timeout(self._launch.settings.api_timeout):
                await self._until("started")
        except TimeoutError:
            self._server.kill()
            raise EngineError(
                f"The fork server hangs: it started no process within {self._launch.settings.api_timeout:.0f} s.",
                self._see_log,
            ) from None

    async def abort_requests(self, error: MariTalkError) -> None:
        """Have the API process end at once, with this error as the answer to each in-flight request."""
        self._server.tell(to_message(error))
        await self._seen_off(STOP_SECONDS)

    async def clear(self, *but: int) -> None:
        """Sweep, and hear the last of what is gone, so that the next start does not."""
        self.sweep(*but)
        await self._seen_off(STOP_SECONDS)

    def abandon(self) -> None:
        """Nothing is forked from the nursery any more."""
        self._server.kill()

    def close(self) -> None:
        """Leave no descriptor open: another one takes over."""
        self._server.close()

    async def _seen_off(self, seconds: float) -> None:
        if self._backend_pid is not None:
            with contextlib.suppress(TimeoutError, MariTalkError):
                await asyncio.wait_for(self._until("ended"), seconds)

    async def stop(self, drain_timeout: float) -> None:
        """Let the API process end by itself; the caller kills what is left."""
        if self._backend_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._backend_pid, signal.SIGTERM)
            await self._seen_off(drain_timeout + STOP_SECONDS)
        self.sweep()
        self._server.close()

    @property
    def _see_log(self) -> str:
        return f"vLLM's log says why: {self._launch.settings.engine_log}"

    def sweep(self, *but: int) -> None:
        """Kill what the API process has left, so that its memory is free for the next, and remove its shared memory.

        `but` are the supervisor's other processes.
        """
        shared_memory = process_tree.shared_memory_of_workers(self._folder)
        process_tree.kill_descendants(self._server.pid, *but)
        process_tree.remove(shared_memory)

    async def _until(self, event: str) -> None:
        """Follow the messages up to this event. Raises what another process says or shows to have failed."""
        failure: MariTalkError | None = None
        while True:
            try:
                message = await self._next_message()
            except EngineError as late:  # of a process that has failed, and does not end
                raise failure or late from late
            if message is None:
                self._gone()
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
                    self._history.mark_done(StartupStep.LOADING)
                    self._state.set_step("Warming up")
                    self._console.warming_up()
                case "leaving":
                    if self._state.phase is Phase.READY:
                        self._state.transition_to(Phase.LOADING)  # again, as soon as that process has ended
                    self._take_port()
                case "connection" if self._take_port():
                    read = b64decode(message["read"])
                    self._answering.adopt(message["descriptor"], read, is_used=message["is_used"])
                case "connection":
                    os.close(message["descriptor"])
                case "failed":
                    failure = from_message(message)  # whose process ends by itself
                case "ended":
                    self._gone()
                    if failure is not None:
                        raise failure
                    if message["exit_code"] != 0:
                        raise self._ended_with(message["job"], message["exit_code"])
            if message["event"] == event:
                return

    def _take_port(self) -> bool:
        """Whether the supervisor answers at the port; not while it has too many files open."""
        try:
            self._answering.start()
        except OSError as error:
            _log.error(f"The supervisor cannot answer at the port: {error.strerror}.")
            return False
        return True

    def _gone(self) -> None:
        """The process that was forked last has ended: its silence says nothing any more."""
        self._backend_pid, self._serves = None, False
        self._server.heartbeat.heard()

    async def _next_message(self) -> Message | None:
        """The next, and meanwhile what vLLM's log tells of how far loading is. Raises EngineError when it is late."""
        while (left := self._deadline.left) < math.inf:
            if left <= 0:
                raise self._too_late()
            try:
                return await asyncio.wait_for(self._server.next_message(), min(_LOOK_SECONDS, left))
            except TimeoutError:
                if step := read_loading_step(self._launch.settings.engine_log, self._log_begins):
                    self._console.progress(step.text)
                    self._state.set_step(*step)
        return await self._server.next_message()

    def _too_late(self) -> EngineError:
        """The error of a start that takes too long. An import that hangs is nothing to fork from."""
        if not self._imported:
            self._server.kill()
        limit, step = self._launch.settings.start_timeout, self._state.step or "Starting its processes"
        return EngineError(
            f'The engine did not start within {limit:.0f} s: the step "{step}" took '
            f"{self._state.step_seconds:.0f} s of it.",
            f"If it only needs longer, raise --start-timeout. Its log: {self._launch.settings.engine_log}",
        )

    def _ended_with(self, job: str, code: int) -> EngineError:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return EngineError(f"The process that was to {job} the model {how}.", self._see_log)

    def _show(self, step: str, fraction: float | None = None) -> None:
        self._state.set_step(step, fraction)
        self._console.progress(step, fraction)


def _agreed(engine_args: list[str], agreed: Message) -> list[str]:
    """vLLM's flags with what the head has decided: it may have a little less memory free than this node, or more."""
    context = agreed.get("max_model_len")
    return engine_args if context is None else [*engine_args, "--max-model-len", str(int(context))]
