"""The chat of --interactive: a child process at the server's terminal, which sends requests like any other client."""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...i18n.language import selected
from ..startup.launch import Launch
from .process_exit import wait_for_exit

_STOP_SECONDS = 2
_STDIN = 0


class ChatProcess:
    """The chat's process, started once when the server is ready. While it runs, it handles the terminal's Ctrl-C."""

    def __init__(self) -> None:
        self._key = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None
        self._control_pipe = self._pidfd = -1
        self._terminal: list[Any] | None = None

    def with_chat_key(self, launch: Launch) -> Launch:
        """The same launch, with the chat's API key added. The key is known to the chat alone, and stored nowhere."""
        return replace(launch, access=launch.access.with_extra_key(self._key))

    @property
    def pid(self) -> int | None:
        """The chat's pid, or None if it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self, url: str, on_exit: Callable[[], None]) -> None:
        """Start a chat with the server at `url`. `on_exit` is called when it exits by itself."""
        self._terminal = _terminal_attributes()
        theirs, self._control_pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: a module in the working directory must not shadow one of ours.
                [sys.executable, "-P", "-m", "maritalk_vllm.tools.chat", str(theirs)],
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        # Through a pipe, since other processes can read arguments and environments.
        os.write(
            self._control_pipe, json.dumps({"url": url, "key": self._key, "language": selected()}).encode() + b"\n"
        )
        self._pidfd = os.pidfd_open(self._process.pid)

        def on_chat_exit() -> None:
            self._unwatch()
            on_exit()

        asyncio.get_running_loop().add_reader(self._pidfd, on_chat_exit)

    async def stop(self) -> None:
        """Stop the chat if it was started, kill it after _STOP_SECONDS, and restore the terminal's attributes."""
        if self._process is None:
            return
        self._unwatch()
        os.close(self._control_pipe)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await wait_for_exit(self._process)
        except TimeoutError:
            self._process.kill()
            await wait_for_exit(self._process)
        self._process = None
        _restore_terminal(self._terminal)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def _terminal_attributes() -> list[Any] | None:
    with contextlib.suppress(termios.error):  # stdin is no terminal
        return termios.tcgetattr(_STDIN)
    return None


def _restore_terminal(attributes: list[Any] | None) -> None:
    """Restore the terminal after a chat that was killed while reading a line; only in the foreground process group."""
    with contextlib.suppress(termios.error, OSError):  # it was closed, or is no longer this process's terminal
        if attributes is not None and os.tcgetpgrp(_STDIN) == os.getpgrp():
            termios.tcsetattr(_STDIN, termios.TCSANOW, attributes)
