"""Run our commands as a user does, in a fraction of the time that Python takes to import them.

Each command is a process of its own. The first in an environment is the installed program. Each later one is forked
from a process that has imported our modules in the same environment (`tests/fork_server.py`). `tests/test_commands.py`
checks that both have the same arguments, folder, variables, streams, umask, session, signals and exit status.
Use `subprocess` where a test is about how a program starts: its imports, closed descriptors, limits.
"""

import atexit
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import fork_server
from tests.fork_server import NUMBER, Request, receive
from tests.serving import BIN

SECONDS = 60

READ_LATER = re.compile(
    r"MARITALK_(?!HOME$)|HF_|PYTEST_|SERVER_UNDER_TEST$"
    r"|(\w+_proxy|FAKE_NVML_FLEET|CUDA_VISIBLE_DEVICES|COLUMNS|NO_COLOR|NOTIFY_SOCKET|VLLM_ALLOW_LONG_MAX_MODEL_LEN)$"
)
"""Variables that a command reads after its imports. Any other that differs needs a fork server of its own."""


class ForkServer:
    """A process that forks the commands whose import-time variables equal `environment`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            program = [sys.executable, fork_server.__file__, str(theirs.fileno())]
            self._process = subprocess.Popen(
                program, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()]
            )

    def ask(self, descriptors: Sequence[int], request: Request) -> tuple[int, socket.socket]:
        """Fork a command with these descriptors as its streams; return its pid and its status connection."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"c"], [theirs.fileno(), *descriptors])
        text = json.dumps(request).encode()
        try:
            ours.sendall(NUMBER.pack(len(text)) + text)
            (process,) = NUMBER.unpack(receive(ours, NUMBER.size))
        except BaseException:
            ours.close()
            raise
        return process, ours

    def stop(self) -> None:
        self._control.close()
        self._process.wait(timeout=SECONDS)


_lock = threading.Lock()
_servers: dict[frozenset[tuple[str, str]], ForkServer | None] = {}
"""By environment. None: one command ran in it, and no fork server has been started yet."""


def _server(environment: Mapping[str, str]) -> ForkServer | None:
    import_time = frozenset((name, value) for name, value in environment.items() if not READ_LATER.match(name))
    with _lock:
        if import_time not in _servers:
            _servers[import_time] = None
        elif _servers[import_time] is None:
            _servers[import_time] = ForkServer(dict(import_time))
        return _servers[import_time]


@atexit.register
def _stop_servers() -> None:
    for server in _servers.values():
        if server is not None:
            server.stop()


class _Forked(subprocess.Popen[str]):
    """A `Popen` whose process a fork server starts and waits for."""

    def __init__(self, server: ForkServer, command: Sequence[str], new_session: bool, **more: Any) -> None:
        self._server, self._new_session = server, new_session
        super().__init__(command, **more)

    def _execute_child(self, *popen_arguments: Any) -> None:
        """Start the command. The arguments are the same in the standard library of each Python that we support."""
        command, folder, environment = popen_arguments[0], popen_arguments[5], popen_arguments[6]
        pipes = popen_arguments[10:16]
        child_ends = (pipes[0], pipes[3], pipes[5])
        request = Request(
            arguments=command,
            environment=environment,
            folder=str(Path(folder or ".").absolute()),
            umask=_umask(),
            new_session=self._new_session,
        )
        try:
            inherited = [standard if end == -1 else end for standard, end in enumerate(child_ends)]
            self.pid, self._status = self._server.ask(inherited, request)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Return what `os.waitpid` returns."""
        if not select.select([self._status], [], [], 0 if wait_flags & os.WNOHANG else None)[0]:
            return 0, 0
        with self._status:
            (status,) = NUMBER.unpack(receive(self._status, NUMBER.size))
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        """Return the exit status, or None while the command runs."""
        if self.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(timeout=0)
        return self.returncode


def _umask() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def start(
    program: str | Path,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    new_session: bool = False,
    fork: bool = True,
    **more: Any,
) -> "subprocess.Popen[str]":
    """Start one of our programs. `fork=False`: with `subprocess.Popen`, never from the fork server.

    `program`: the name of an installed program, or the path of a Python file. `env` None: the environment of the tests.
    `more`: the streams, their encoding, and `cwd`, as for `subprocess.Popen`.
    """
    command = [str(BIN / program), *map(str, arguments)]
    environment = dict(os.environ if env is None else env)
    more = {"encoding": "utf-8", **more}
    server = _server(environment) if fork else None
    if server is None:
        interpreter = [sys.executable] if command[0].endswith(".py") else []
        return subprocess.Popen([*interpreter, *command], env=environment, start_new_session=new_session, **more)
    return _Forked(server, command, new_session, env=environment, **more)


def run(
    program: str | Path, *arguments: object, input: str | None = None, timeout: float = SECONDS, **more: Any
) -> "subprocess.CompletedProcess[str]":
    """Run one of our programs, capture its output, and kill it after `timeout` seconds. `more`: as for `start`."""
    if input is not None:
        more["stdin"] = subprocess.PIPE
    with start(program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more) as process:
        try:
            printed, errors = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)
