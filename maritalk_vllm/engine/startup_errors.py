"""Explain in one sentence why vLLM failed to start."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import EngineError, MariTalkError, Unavailable
from ..i18n.message import clause, msg, sentences
from .known_failures import explain

# A traceback's last line, as vLLM's loggers write it: "(Worker pid=7) ERROR 11-23 10:00:00 [x.py:1] ValueError: text".
# An exception of a module is written with the module's name.
_CAUSE = re.compile(
    r"^(?P<process>.*?)\bERROR\b.*?\]\s+(?:(?:\w+\.)+[A-Z]\w*|(?:\w+\.)*\w*(?:Error|Exception)): (?P<text>.+)"
)
# vLLM's executor about a worker that could not log why it ends.
_DEAD_WORKER = re.compile(r"Worker proc \S+ died unexpectedly \(exit code: (?P<code>-?\d+)\)")
# Messages in which a process reports the failure of another process.
_SECONDARY = ("initialization failed", "root cause", "Executor failed")

PRINTED = "output"
"""The `name` of a JSON line that was printed and not logged (server/process/json_lines.py)."""

_LOG_SECONDS = 1.0
"""Maximum delay from a process that writes a line to the log file (server/process/log_file.py)."""

_MAX_BYTES = 8 << 20
"""Bytes at the end of the log that are searched."""
_SHORTER_CONTEXT = re.compile(r"KV cache is needed.*estimated maximum model length is (?P<length>\d+)")


@contextlib.contextmanager
def explain_startup_errors(engine_log: Path) -> Iterator[None]:
    """Turn an exception of vLLM's startup into an error with the first cause, also one of another process."""
    try:
        yield
    except (EngineError, Unavailable) as error:  # ours, from a warm-up request during which the engine died
        if text := _wait_for_cause(engine_log):
            raise _failed(text, engine_log) from error
        if isinstance(error, Unavailable):  # means "try again" for a request, but a start has failed
            raise _failed(error.message, engine_log) from error
        raise
    except MariTalkError:
        raise
    except Exception as error:
        text = _text(error)
        if any(phrase in text for phrase in _SECONDARY):
            text = _wait_for_cause(engine_log) or text
        raise _failed(text, engine_log) from error


def explain_exit(engine_log: Path, how: str) -> MariTalkError:
    """The error of an engine that exited before it was ready: the first cause in its log, or `how` it exited.

    Waits up to `_LOG_SECONDS` for the log.
    """
    return _failed(_wait_for_cause(engine_log) or how, engine_log)


def _failed(text: str, engine_log: Path) -> MariTalkError:
    found = explain(text)
    log = msg("Its log: {engine_log}", engine_log=engine_log)
    error = found.error(msg("vLLM failed to start: {cause}.", cause=clause(found.cause)), sentences(found.hint, log))
    if isinstance(error, EngineError) and (shorter := _SHORTER_CONTEXT.search(text)):
        error.max_model_len = int(shorter["length"])
    return error


def _text(error: Exception) -> str:
    # vLLM validates its configuration with pydantic, whose message adds the input, a type and a URL.
    messages = [each["msg"] for each in error.errors()] if hasattr(error, "errors") else [str(error)]
    text = " ".join(" ".join(messages).replace("Value error, ", "").split())
    return text or type(error).__name__


def _plain_line(line: str) -> str:
    """A log line as text. Of a JSON line with a traceback, only the last line of the traceback."""
    if not line.startswith("{"):
        return line
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line
    if record.get("name") == PRINTED:
        return str(record.get("message"))
    text = str(record.get("exc_info") or record.get("message") or "").strip()
    return f"{record.get('levelname')} ] {text.splitlines()[-1] if text else ''}"


def _wait_for_cause(engine_log: Path) -> str | None:
    """The first cause in the log. Waits up to `_LOG_SECONDS` for it to be written."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (text := first_cause(engine_log)) is None and engine_log.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    return text


def first_cause(engine_log: Path) -> str | None:
    """The first error in vLLM's log that does not report the failure of another process; None if there is none.

    If an exception led to another one in the same process, the one that explains more. Without an exception, how a
    worker exited.
    """
    causes: list[str] = []
    exits: list[str] = []
    first = None
    with contextlib.suppress(OSError):  # the error that is explained is reported without it
        for line in _lines(engine_log):
            if dead := _DEAD_WORKER.search(line):
                exits.append(describe_exit_code(int(dead["code"])))
            found = _CAUSE.search(line)
            if found is None or any(phrase in found["text"] for phrase in _SECONDARY):
                continue
            # Lines of a JSON log do not say which process wrote them.
            if not causes or (first and found["process"] == first):
                first = found["process"]
                causes.append(found["text"])
    return min(causes or filter(None, exits), key=lambda text: explain(text).place, default=None)


def describe_exit_code(code: int) -> str:
    """Describe how a process of the engine exited; empty if it was stopped."""
    if code in (0, -signal.SIGTERM):
        return ""
    if code < 0:
        return msg("the engine's process was killed by {signal}", signal=signal.Signals(-code).name)
    return msg("the engine's process ended with {number}", number=code)


def _lines(engine_log: Path) -> Iterator[str]:
    """The whole lines at the end of the log."""
    if not engine_log.is_file():
        return
    with engine_log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_BYTES))
        # Text after the last newline is an incomplete line.
        text = file.read(_MAX_BYTES).rpartition(b"\n")[0].decode(errors="replace")
    yield from map(_plain_line, text.splitlines())
