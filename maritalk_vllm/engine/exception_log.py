"""Log exceptions of requests in one line each. A traceback has a line for each call, which can be many."""

import logging
import time
import traceback
from collections.abc import Iterator
from types import CodeType

MAX_TEXT_CHARACTERS = 500
"""Maximum characters of a client's text in the log."""

SILENT_SECONDS = 60.0
"""Interval in which an identical line is logged only once."""

MAX_LINES = 256
"""Maximum lines remembered. Beyond that, the oldest is forgotten and may be logged again."""

_VLLM_ROUTES = "vllm.entrypoints."
"""Prefix of the loggers of vLLM's request handlers."""

_REQUEST_LOGGERS = (_VLLM_ROUTES, "uvicorn.")
"""Prefixes of the loggers of request handlers."""


class ExceptionLog:
    """Deduplicates log lines: remembers which were written in the last minute, and how often each was suppressed."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[float, int]] = {}

    def format_once(self, what: str, error: BaseException) -> str:
        """Format `what` with the type, message and location of `error`; empty if that line was logged recently."""
        line = f"{what} {type(error).__name__}: {truncated(str(error))!r} at {_location(error)}"
        now = time.monotonic()
        written_at, suppressed = self._written.get(line, (now - SILENT_SECONDS, 0))
        if now - written_at < SILENT_SECONDS:
            self._written[line] = written_at, suppressed + 1
            return ""
        self._written.pop(line, None)
        if len(self._written) >= MAX_LINES:
            self._written.pop(next(iter(self._written)))
        self._written[line] = now, 0
        return line + (f" ({suppressed} more since the last such line)" if suppressed else "")

    def filter(self, record: logging.LogRecord) -> bool:
        """Logging filter for handlers and loggers: replaces the traceback of a request handler by one line."""
        from vllm.exceptions import GracefulHTTPError, VLLMClientError

        error = record.exc_info[1] if record.exc_info else None
        if error is None or not record.name.startswith(_REQUEST_LOGGERS):
            return True
        record.exc_info = None
        if isinstance(error, VLLMClientError | GracefulHTTPError) and record.name.startswith(_VLLM_ROUTES):
            return True  # a client error, which its message explains
        line = self.format_once(record.getMessage().partition("\n")[0], error)
        record.msg, record.args = line, None
        return bool(line)


request_exceptions = ExceptionLog()
"""The log of this process."""


def truncated(text: str) -> str:
    """Cut a client's text to the length that the log repeats."""
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}..."


def _location(error: BaseException) -> str:
    """Our innermost frame and the frame that raised `error`, each as `engine/generator.py:64 in stream`."""
    frames = [(code.co_filename, line, code.co_name) for code, line in _calls(error)]
    ours = [frame for frame in frames if "maritalk_vllm" in frame[0]]
    shown = dict.fromkeys([*ours[-1:], *frames[-1:]])
    places = (f"{'/'.join(file.split('/')[-2:])}:{line} in {name}" for file, line, name in shown)
    return ", ".join(places) or "an unknown place"


def _calls(error: BaseException) -> Iterator[tuple[CodeType, int]]:
    return ((frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__))
