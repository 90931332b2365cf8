"""The chat at the server's own terminal: a process below the supervisor, which asks like any other client."""

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

from ...language import spoken
from ..startup.launch import Launch

_PATIENCE_SECONDS = 2
_STDIN = 0


class ChatProcess:
    """Begun once, when the server is ready. The terminal's Ctrl-C is the chat's as long as it lasts."""

    def __init__(self) -> None:
        self._key = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None
        self._leash = self._watched = -1
        self._terminal: list[Any] | None = None

    def admitted(self, launch: Launch) -> Launch:
        """The same start, at whose door the chat may come in. Its key is told to nobody else, and kept nowhere."""
        return replace(launch, access=launch.access.with_extra_key(self._key))

    @property
    def pid(self) -> int | None:
        """The chat's process; None unless it is there."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def begin(self, url: str, ended: Callable[[], None]) -> None:
        """Chat with the server at `url`. `ended` is called when nobody does any more."""
        self._terminal = _terminal()
        theirs, self._leash = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P: a module in the working directory must not be taken for one of ours.
                [sys.executable, "-P", "-m", "maritalk_vllm.tools.chat", str(theirs)],
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        # Through a pipe, since arguments and environments are there to read for others.
        os.write(self._leash, json.dumps({"url": url, "key": self._key, "language": spoken()}).encode() + b"\n")
        self._watched = os.pidfd_open(self._process.pid)

        def see() -> None:
            self._unwatch()
            ended()

        asyncio.get_running_loop().add_reader(self._watched, see)

    def end(self) -> None:
        """Have the chat end, if it is there, and leave the terminal as it was."""
        if self._process is None:
            return
        self._unwatch()
        os.close(self._leash)
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        _restore(self._terminal)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1


def _terminal() -> list[Any] | None:
    with contextlib.suppress(termios.error):
        return termios.tcgetattr(_STDIN)
    return None


def _restore(attributes: list[Any] | None) -> None:
    """For a chat that was killed in the midst of a line. In the background the terminal is another program's."""
    with contextlib.suppress(termios.error, OSError):
        if attributes is not None and os.tcgetpgrp(_STDIN) == os.getpgrp():
            termios.tcsetattr(_STDIN, termios.TCSANOW, attributes)
