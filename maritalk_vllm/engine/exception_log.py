"""Exceptions that a request meets, in one line of the log: a traceback has a line for each call, which can be many."""

import logging
import time
import traceback
from collections.abc import Iterator
from types import CodeType

LONGEST = 500
"""Characters that the log repeats of what a client wrote."""

SILENT_SECONDS = 60.0
"""How long the same line is not written again."""

MOST_LINES = 256
"""Kept in memory: beyond so many, the one that was written longest ago may be written again."""

_OF_REQUESTS = ("vllm.entrypoints.", "uvicorn.")
"""The loggers of what answers requests."""


class ExceptionLog:
    """Which lines were written within a minute, and how many more like them were left out."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int]] = {}

    def line(self, what: str, error: BaseException) -> str:
        """`what` with the exception's kind, its message and where it was raised; empty if it was written just now."""
        line = f"{what} {type(error).__name__}: {shortened(str(error))!r} at {_place(error)}"
        now = time.monotonic()
        written_at, left_out = self._written.get(line, (now - SILENT_SECONDS, 0))
        if now - written_at < SILENT_SECONDS:
            self._written[line] = written_at, left_out + 1
            return ""
        self._written.pop(line, None)
        if len(self._written) >= MOST_LINES:
            self._written.pop(next(iter(self._written)))
        self._written[line] = now, 0
        return line + (f" ({left_out} more since the last such line)" if left_out else "")

    def filter(self, record: logging.LogRecord) -> bool:
        """For handlers and loggers: one line for a traceback of what answers requests."""
        from vllm.exceptions import GracefulHTTPError, VLLMClientError

        error = record.exc_info[1] if record.exc_info else None
        if error is None or not record.name.startswith(_OF_REQUESTS):
            return True
        record.exc_info = None
        if isinstance(error, VLLMClientError | GracefulHTTPError):
            return True  # a client's mistake, which its message says
        line = self.line(record.getMessage().partition("\n")[0], error)
        record.msg, record.args = line, None
        return bool(line)


faults = ExceptionLog()
"""Those of this process."""


def shortened(text: str) -> str:
    """Text of a client's, as far as the log repeats it."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _place(error: BaseException) -> str:
    """`engine/generator.py:64 in stream`: the last call of ours that it came through, and the one that raised it."""
    frames = [(code.co_filename, line, code.co_name) for code, line in _calls(error)]
    ours = [frame for frame in frames if "maritalk_vllm" in frame[0]]
    shown = dict.fromkeys([*ours[-1:], *frames[-1:]])
    places = (f"{'/'.join(file.split('/')[-2:])}:{line} in {name}" for file, line, name in shown)
    return ", ".join(places) or "an unknown place"


def _calls(error: BaseException) -> Iterator[tuple[CodeType, int]]:
    return ((frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__))
