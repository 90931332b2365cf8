"""A shell session that runs a page's commands one after the other, as a reader would."""

import contextlib
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_SECONDS = 120


class Shell:
    """One bash process: exported variables and the current folder persist. Its descendants are killed at the end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self._process.communicate()

    def run(self, command: str) -> tuple[str, int]:
        """Run a command; return its output on both streams and its exit status, which the next command sees as `$?`."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        mark = uuid.uuid4().hex
        # The command must not read the next command from stdin.
        stdin.write(f"{{ {command}\n}} </dev/null\nstatus=$?; printf '\\n%s %s\\n' {mark} $status; (exit $status)\n")
        stdin.flush()
        timer = threading.Timer(_SECONDS, self._kill)
        timer.start()
        try:
            lines: list[str] = []
            for line in stdout:
                if line.startswith(mark):
                    return "".join(lines).removesuffix("\n"), int(line.split()[1])
                lines.append(line)
        finally:
            timer.cancel()
        raise AssertionError(f"{command} ended the shell, or took {_SECONDS} s: {''.join(lines)}")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
