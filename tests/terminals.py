"""A terminal under test control: tmux, to which tests send keys and whose screen they read."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_SECONDS = 60


class Terminal:
    """One tmux window. It stays open after the command has ended, so that the screen can still be read."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(self._socket), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def enter(self, text: str) -> None:
        self.type(text)
        self.press("Enter")

    def paste(self, text: str) -> None:
        """Paste as a terminal does: as a bracketed paste where the program has enabled that."""
        self.tmux("set-buffer", text)
        self.tmux("paste-buffer", "-p")

    def screen(self) -> str:
        """All lines so far, history included, without trailing blanks."""
        lines = [line.rstrip() for line in self.tmux("capture-pane", "-p", "-J", "-S", "-").splitlines()]
        return "\n".join(lines).rstrip() + "\n"

    def wait_for(self, text: str, times: int = 1, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until the screen contains this text `times` times; return the screen."""
        deadline = time.monotonic() + seconds
        while (screen := self.screen()).count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_for_prompt(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait until the last line is an empty `>>` prompt; return the screen."""
        deadline = time.monotonic() + seconds
        while not (screen := self.screen()).endswith("\n>>\n"):
            assert time.monotonic() < deadline, f"no prompt in:\n{screen}"
            time.sleep(0.05)
        return screen


@contextmanager
def terminal(command: str, environment: dict[str, str], *, width: int = 100) -> Iterator[Terminal]:
    """Open a window that runs this shell command. Skips the test where tmux is not installed."""
    if shutil.which("tmux") is None:
        pytest.skip("this machine has no tmux: scripts/debian tmux")
    # The path of a Unix socket is limited to about a hundred characters.
    socket = Path("/tmp") / f"maritalk-test-{uuid.uuid4().hex[:12]}"
    window = Terminal(socket)
    variables = [each for name, value in environment.items() for each in ("-e", f"{name}={value}")]
    window.tmux("new-session", "-d", "-x", str(width), "-y", "50", *variables, f"{command}; echo ended with $?; cat")
    try:
        yield window
    finally:
        window.tmux("kill-server")
        socket.unlink(missing_ok=True)
