"""Explain in one sentence why vLLM failed to start."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..errors import EngineError, MariTalkError, Unavailable

# A traceback's last line, as vLLM's loggers write it: "(Worker pid=7) ERROR 11-23 10:00:00 [x.py:1] ValueError: text".
_CAUSE = re.compile(r"\bERROR\b.*?\]\s+(?:\w+\.)*\w*(?:Error|Exception): (?P<text>.+)")
# Messages in which a process reports the failure of another process.
_SECONDARY = ("initialization failed", "root cause")


_LOG_SECONDS = 1.0
"""Maximum delay from a process that writes a line to the log file (server/process/log_file.py)."""

_MAX_BYTES = 8 << 20
"""Bytes at the end of the log that are searched."""

_GIB = r"([\d.]+)"
# Messages of vLLM 0.32 and 0.33 for problems that a plan cannot foresee: pattern, explanation and hint.
_KNOWN = (
    (
        rf"To serve at least one request with the model's max seq len \((\d+)\), \({_GIB} GiB KV cache is needed, "
        rf"which is larger than the available KV cache memory \({_GIB} GiB\).*estimated maximum model length is (\d+)",
        "one request of {0} tokens needs {1} GiB of KV cache, and {2} GiB are available.",
        "Serve shorter ones: --max-model-len {3}.",
    ),
    (
        rf"Free memory on device (\S+) \({_GIB}/{_GIB} GiB\) on startup is less than desired GPU memory utilization "
        rf"\({_GIB}, {_GIB} GiB\)",
        "{1} of {2} GiB are free on {0}, and {4} GiB were planned for (--gpu-memory-utilization {3}).",
        "Another program has taken memory since the plan was made: see maritalk-vllm doctor.",
    ),
    (
        r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        "{0} attention heads cannot be split over {1} GPUs.",
        "Choose a --tensor-parallel-size that divides {0}.",
    ),
    (
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=(\d+)",
        "--max-model-len {0} is more than the {1} tokens that the model can read.",
        "Choose a smaller one, or leave it out.",
    ),
    (
        r"the engine's process was killed by (SIGKILL)",
        "the engine's process was killed by {0}",
        "Memory may have run out: dmesg says whether the kernel killed it.",
    ),
    (
        r"No available memory for the cache blocks",
        "nothing is left for the KV cache beside the weights.",
        "Give vLLM more memory with --gpu-memory-utilization, or spread the model with --tensor-parallel-size.",
    ),
    (
        rf"out of memory\. Tried to allocate {_GIB} (\w+)\. GPU (\d+) has a total capacity of {_GIB} (\w+) of which "
        rf"{_GIB} (\w+) is free",
        "GPU {2} ran out of memory: {0} {1} were asked for, and {5} {6} of {3} {4} were free.",
        "Give vLLM less with --gpu-memory-utilization, or spread the model with --tensor-parallel-size.",
    ),
)


@contextlib.contextmanager
def explain_startup_errors(engine_log: Path, describe_exit: Callable[[], str] = str) -> Iterator[None]:
    """Turn an exception of vLLM's startup into an EngineError with the first cause, also one of another process.

    `describe_exit` describes how the engine process exited, for one that could not log why; empty if it has not exited.
    """
    try:
        yield
    except (EngineError, Unavailable) as error:  # ours, from a warm-up request during which the engine died
        if text := _wait_for_cause(engine_log) or describe_exit():
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


def _failed(text: str, engine_log: Path) -> EngineError:
    cause, hint = explain(text)
    log = f"Its log: {engine_log}"
    return EngineError(f"vLLM failed to start: {cause.rstrip('.')}.", f"{hint} {log}".strip())


def explain(text: str) -> tuple[str, str]:
    """Return an explanation of vLLM's error `text` and a hint; `text` itself if it is unknown."""
    for pattern, meaning, hint in _KNOWN:
        if found := re.search(pattern, text):
            return meaning.format(*found.groups()), hint.format(*found.groups())
    return text, ""


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
    text = str(record.get("exc_info") or record.get("message") or "").strip()
    return f"{record.get('levelname')} ] {text.splitlines()[-1] if text else ''}"


def _wait_for_cause(engine_log: Path) -> str | None:
    """The first cause in the log. Waits up to `_LOG_SECONDS` for it to be written."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (text := first_cause(engine_log)) is None and engine_log.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    return text


def first_cause(engine_log: Path) -> str | None:
    """The first error in vLLM's log that does not report the failure of another process; None if there is none."""
    with contextlib.suppress(OSError):  # the error that is explained is reported without it
        if not engine_log.is_file():
            return None
        with engine_log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_BYTES))
            # Text after the last newline is an incomplete line.
            text = file.read(_MAX_BYTES).rpartition(b"\n")[0].decode(errors="replace")
        for line in map(_plain_line, text.splitlines()):
            found = _CAUSE.search(line)
            if found and not any(phrase in found["text"] for phrase in _SECONDARY):
                return found["text"]
    return None
