"""Explain in one sentence why vLLM failed to start."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import EngineError, MariTalkError, Unavailable
from ..i18n.message import Message, Number, clause, msg, sentences

# A traceback's last line, as vLLM's loggers write it: "(Worker pid=7) ERROR 11-23 10:00:00 [x.py:1] ValueError: text".
_CAUSE = re.compile(r"\bERROR\b.*?\]\s+(?:\w+\.)*\w*(?:Error|Exception): (?P<text>.+)")
# Messages in which a process reports the failure of another process.
_SECONDARY = ("initialization failed", "root cause")


_LOG_SECONDS = 1.0
"""Maximum delay from a process that writes a line to the log file (server/process/log_file.py)."""

_MAX_BYTES = 8 << 20
"""Bytes at the end of the log that are searched."""

_GIB = r"[\d.]+"
# Messages of vLLM 0.32 and 0.33 for problems that a plan cannot foresee: pattern, and the templates of an explanation
# and a hint.
_KNOWN = (
    (
        rf"To serve at least one request with the model's max seq len \((?P<tokens>\d+)\), "
        rf"\((?P<needed>{_GIB}) GiB KV cache is needed, which is larger than the available KV cache memory "
        rf"\((?P<available>{_GIB}) GiB\).*estimated maximum model length is (?P<length>\d+)",
        "one request of {tokens} tokens needs {needed} GiB of KV cache, and {available} GiB are available.",
        "Serve shorter ones: --max-model-len {length}.",
    ),
    (
        rf"Free memory on device (?P<device>\S+) \((?P<free>{_GIB})/(?P<total>{_GIB}) GiB\) on startup is less than "
        rf"desired GPU memory utilization \((?P<share>{_GIB}), (?P<planned>{_GIB}) GiB\)",
        "{free} of {total} GiB are free on {device}, and {planned} GiB were planned for "
        "(--gpu-memory-utilization {share}).",
        "Another program has taken memory since the plan was made: see maritalk-vllm doctor.",
    ),
    (
        r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by "
        r"tensor parallel size \((?P<gpus>\d+)\)",
        "{heads} attention heads cannot be split over {gpus} GPUs.",
        "Choose a --tensor-parallel-size that divides {heads}.",
    ),
    (
        r"User-specified max_model_len \((?P<length>\d+)\) is greater than the derived max_model_len "
        r"\(\w+=(?P<tokens>\d+)",
        "--max-model-len {length} is more than the {tokens} tokens that the model can read.",
        "Choose a smaller one, or leave it out.",
    ),
    (
        r"the engine's process was killed by (?P<signal>SIGKILL)",
        "the engine's process was killed by {signal}",
        "Memory may have run out: dmesg says whether the kernel killed it.",
    ),
    (
        r"No available memory for the cache blocks",
        "nothing is left for the KV cache beside the weights.",
        "Give vLLM more memory with --gpu-memory-utilization, or spread the model with --tensor-parallel-size.",
    ),
    (
        rf"out of memory\. Tried to allocate (?P<asked>{_GIB}) (?P<unit>\w+)\. GPU (?P<gpu>\d+) has a total "
        rf"capacity of (?P<total>{_GIB}) (?P<unit3>\w+) of which (?P<free>{_GIB}) (?P<unit2>\w+) is free",
        "GPU {gpu} ran out of memory: {asked} {unit} were asked for, and {free} {unit2} of {total} {unit3} were free.",
        "Give vLLM less with --gpu-memory-utilization, or spread the model with --tensor-parallel-size.",
    ),
)


_OPTION_VALUE = "share"
"""A number that is the value of an option, and so has no other form in any language."""


@contextlib.contextmanager
def explain_startup_errors(engine_log: Path) -> Iterator[None]:
    """Turn an exception of vLLM's startup into an EngineError with the first cause, also one of another process."""
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


def explain_exit(engine_log: Path, how: str) -> EngineError:
    """The error of an engine that exited before it was ready: the first cause in its log, or `how` it exited.

    Waits up to `_LOG_SECONDS` for the log.
    """
    return _failed(_wait_for_cause(engine_log) or how, engine_log)


def _failed(text: str, engine_log: Path) -> EngineError:
    cause, hint = explain(text)
    log = msg("Its log: {engine_log}", engine_log=engine_log)
    return EngineError(msg("vLLM failed to start: {cause}.", cause=clause(cause)), sentences(hint, log))


def explain(text: str) -> tuple[str, str]:
    """Return an explanation of vLLM's error `text` and a hint; `text` itself if it is unknown."""
    for pattern, meaning, hint in _KNOWN:
        if found := re.search(pattern, text):
            values = {name: _value(name, value) for name, value in found.groupdict().items()}
            return Message(meaning, values), Message(hint, values)
    return text, ""


def _value(name: str, text: str) -> object:
    if name == _OPTION_VALUE or not re.fullmatch(r"\d+\.\d+", text):
        return text
    return Number(float(text), f".{len(text.partition('.')[2])}f")


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
