"""Start the real server as a user does, and observe it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, ClassVar

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.settings import OPTIONS, environment_variable

MARITALK_VARIABLES = {environment_variable(name) for name in (*OPTIONS, "config", "lang", "url")}
BIN = Path(sys.executable).parent
UNREACHABLE_URL = "http://127.0.0.1:9"
READY_SECONDS = 240
"""Deadline on a busy machine; a start takes 10 to 40 s on two cores."""


figures: list[str] = []
"""Measurements, printed at the end of a run. Never asserted, since machines are shared and noisy."""


def note(figure: str) -> None:
    """Add a measurement to the report at the end of the run."""
    figures.append(figure)


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until the condition holds, in at most a third of the time, since other processes need the core.

    Fails with `what` after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, f"{what}: not within {seconds} s"
        time.sleep(max(0.01, min(2 * (now - asked), 0.5)))


def free_port(preferred: int = 0) -> int:
    """The preferred port if it is free, otherwise any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", preferred))
        except OSError:
            probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def marked_processes(mark: str) -> dict[int, str]:
    """Pid and command line of every process whose environment has SERVER_UNDER_TEST=`mark`."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SERVER_UNDER_TEST={mark}".encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _headers(message: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in message.items()}


class Port:
    """A client of a server on this machine, by its port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str = "/", body: object = None, timeout: float = 120) -> Answer:
        """GET, or POST a body: bytes as they are, anything else as JSON. Returns error responses too."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        request.add_header("Content-Type", "application/json")
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return Answer(reply.status, _headers(reply.headers), reply.read(), time.monotonic() - began)
        except urllib.error.HTTPError as reply:
            with reply:
                return Answer(reply.code, _headers(reply.headers), reply.read(), time.monotonic() - began)


class Server(Port):
    """A `maritalk-serve` process. Its descendants inherit a mark in their environment, which `processes` looks for."""

    program: Sequence[str | Path] = (BIN / "maritalk-serve",)
    started: ClassVar[list["Server"]] = []
    """The servers that this process has started."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        port: int = 0,
        license: str | None = EVALUATION_KEY,
        via: Sequence[str] = (),
    ) -> None:
        """`license` None: it is in the environment. `via`: a command prefix that execs the server: `ip netns exec`."""
        super().__init__(free_port(port))
        self.mark = uuid.uuid4().hex
        self.stdout = folder / "stdout"
        self.stderr = folder / "stderr"
        # setproctitle overwrites the environment in /proc unless SPT_NOENV is set.
        environment = {**os.environ, "SERVER_UNDER_TEST": self.mark, "SPT_NOENV": "1"}
        environment["XDG_STATE_HOME"] = str(folder / "state")  # the default of --data-dir is there
        licensed = () if license is None else ("--license", license)
        command: list[str | Path] = [*via, *self.program, *licensed, "--port", str(self.port), *arguments]
        self.began = time.monotonic()
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = self._start(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=environment, cwd=folder
            )
        Server.started.append(self)

    def _start(self, command: Sequence[str | Path], **more: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(command, **more)

    @property
    def engine_log(self) -> Path:
        """The path of vLLM's log, which the server prints at start."""
        (line,) = (line for line in self.stdout.read_text().splitlines() if line.startswith("vLLM's log: "))
        return Path(line.removeprefix("vLLM's log: "))

    def wait_for(self, line: str, seconds: float = READY_SECONDS) -> None:
        """Wait until stdout contains this text. Fails if the process exits or `seconds` pass."""
        deadline = time.monotonic() + seconds
        while line not in self.stdout.read_text():
            assert self.process.poll() is None, f"ended: {self.stderr.read_text()}"
            assert time.monotonic() < deadline, f"no {line!r} in {self.stdout.read_text()}"
            time.sleep(0.02)

    def wait_for_port(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def wait_until_ready(self) -> None:
        self.wait_for("Listening on http://")

    def processes(self) -> dict[int, str]:
        """Pid and command line of every process that carries this server's mark."""
        return marked_processes(self.mark)

    @property
    def apis(self) -> list[int]:
        """All API processes that serve, or begin to."""
        return sorted(pid for pid, line in self.processes().items() if line.startswith("maritalk: serve"))

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal and wait for the process to exit, for 60 s at most. Returns the seconds it took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - began

    def kill(self) -> None:
        """Kill all of its processes, if the first of them still runs."""
        if self.process.poll() is None:
            for pid in (self.process.pid, *self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Startup:
    """Observations from the start of the process until the engine was ready."""

    server: Server
    port_seconds: float = 0
    first_status: Answer | None = None
    polls: list[Answer] = field(default_factory=list)
    held: Answer | None = None
    other_route: Answer | None = None
    notifications: list[str] = field(default_factory=list)
    """Messages that the service manager received."""


POLLS = 1000


def observe_startup(server: Server) -> Startup:
    """While the engine loads, request the status `POLLS` times and send a generation request that waits for it."""
    seen = Startup(server)
    server.wait_for_port()
    seen.first_status = server.ask()
    seen.port_seconds = time.monotonic() - server.began
    seen.other_route = server.ask("/v1/models")
    with ThreadPoolExecutor(32) as pool:
        held = pool.submit(server.ask, "/generate", {"prompt": "1 2 3", "max_tokens": 4, "do_sample": False}, 300)
        polls: list[Future[Answer]] = [pool.submit(server.ask) for _ in range(POLLS)]
        seen.polls = [poll.result() for poll in polls]
        server.wait_until_ready()
        seen.held = held.result()
    return seen
