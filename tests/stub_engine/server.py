"""A server with a stub engine, for tests."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from tests import commands
from tests.serving import Answer, Server, until
from tests.stub_engine import script
from tests.stub_engine.engine import TITLE

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("serve.py")
COMMAND = (sys.executable, str(PROGRAM))


class StubServer(Server):
    """`maritalk-serve` with all our own processes, on the stub engine."""

    program: tuple[str, ...] = ()
    """The command that starts it, if not forked from a process that has imported it."""

    def __init__(self, folder: Path, *arguments: str, **actions: Sequence[str]) -> None:
        """`actions`: the stub's actions by stage (tests/stub_engine/script.py)."""
        script.write(folder, **actions)
        self.folder = folder
        # Import the same copy of the code that this file belongs to.
        with patch.dict("os.environ", PYTHONPATH=str(ROOT)):
            super().__init__(folder, "--cache-dir", str(folder / "cache"), *arguments)

    def _start(self, command: Sequence[str | Path], **more: Any) -> "subprocess.Popen[Any]":
        return super()._start(command, **more) if self.program else commands.start(PROGRAM, *command, **more)

    def processes(self) -> dict[int, str]:
        """Add the main process: the marker is in the initial environment of programs, but not of forked processes."""
        found = super().processes()
        if self.process.poll() is None:
            found[self.process.pid] = Path(f"/proc/{self.process.pid}/cmdline").read_text().replace("\0", " ")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill all remaining processes, also after a failed test."""
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def ask(self, path: str = "/", body: object = None, timeout: float = 30) -> Answer:
        """Send a request, with a shorter timeout than for a real engine."""
        return super().ask(path, body, timeout)

    def reached(self, stage: str) -> list[script.Reached]:
        """Each time that the stub reached this stage."""
        return [each for each in script.reached(self.folder) if each.stage == stage]

    def wait_until_reached(self, stage: str, times: int = 1) -> None:
        self._until(lambda: len(self.reached(stage)) >= times, f"{stage} {times} times")

    def pid_of(self, title: str) -> int:
        """The one process with this title."""
        found: list[int] = []

        def is_one() -> bool:
            found[:] = [pid for pid, line in self.processes().items() if line.startswith(title)]
            return len(found) == 1

        # While the fork server forks, another process has its title for a moment.
        until(is_one, f"one process {title}", 5)
        return found[0]

    @property
    def engine(self) -> int:
        return self.pid_of(TITLE)

    @property
    def api(self) -> int:
        return self.pid_of("maritalk: serve")

    @property
    def engine_process(self) -> int:
        return self.pid_of("maritalk: run")

    @property
    def fork_server(self) -> int:
        return self.pid_of("maritalk: nursery")

    @property
    def length(self) -> str:
        """The context length of the engine that was started last."""
        flags = script.flags(self.folder)
        return flags[flags.index("--max-model-len") + 1]

    @property
    def problems(self) -> list[str]:
        """What /readyz reports while the server is ready."""
        return list(self.ask("/readyz").json.get("problems", []))

    def wait_until_ready_again(self, times: int = 1) -> None:
        """Wait until it has printed that it is listening `times` more times than after the first start."""
        self.wait_for_text("Listening on http://", times + 1)

    def wait_for_text(self, text: str, times: int) -> None:
        """Wait until stdout contains `text` `times` times."""
        self._until(lambda: self.stdout.read_text().count(text) >= times, f"{text} {times} times")

    def wait_until_draining(self) -> None:
        """Wait until the server reports that it is draining."""
        self._until(lambda: b'maritalk_server_state="draining"} 1.0' in self.ask("/metrics").body, "draining")

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition while the server runs; fail at once if it exits."""
        holds = False

        def is_decided() -> bool:
            nonlocal holds
            holds = condition()
            return holds or self.process.poll() is not None

        until(is_decided, what)
        assert holds, f"{what}: the server exited before. {self.stderr.read_text()}"
