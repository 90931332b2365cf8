"""Why vLLM did not start, in one sentence."""

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
# What a process says of another process's failure.
_SECOND_HAND = ("initialization failed", "root cause")


_LOG_SECONDS = 1.0
"""How long a line may take from the process that writes it to the file (server/process/log_file.py)."""

_MOST_BYTES = 8 << 20
"""How much of the log's end is looked through."""

_GIB = r"([\d.]+)"
# vLLM's messages for what a plan can miss, with the numbers that they name, and what they mean here (0.32 and 0.33).
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
def explain_startup_errors(engine_log: Path, ending: Callable[[], str] = str) -> Iterator[None]:
    """Turn what vLLM raises at its start into an EngineError that names the first cause, also of another process.

    `ending` says how the engine's process has ended, for one that could not write why; an empty text if it has not.
    """
    try:
        yield
    except (EngineError, Unavailable) as error:  # ours, from a first request that the engine did not survive
        if text := _written_cause(engine_log) or ending():
            raise _failed(text, engine_log) from error
        if isinstance(error, Unavailable):  # for a request the client may try again; a start has failed
            raise _failed(error.message, engine_log) from error
        raise
    except MariTalkError:
        raise
    except Exception as error:
        text = _text(error)
        if any(words in text for words in _SECOND_HAND):
            text = _written_cause(engine_log) or text
        raise _failed(text, engine_log) from error


def _failed(text: str, engine_log: Path) -> EngineError:
    cause, hint = explain(text)
    log = f"Its log: {engine_log}"
    return EngineError(f"vLLM failed to start: {cause.rstrip('.')}.", f"{hint} {log}".strip())


def explain(text: str) -> tuple[str, str]:
    """What an error of vLLM's means here, and what to do; the text itself if it is none that we know."""
    for pattern, meaning, hint in _KNOWN:
        if found := re.search(pattern, text):
            return meaning.format(*found.groups()), hint.format(*found.groups())
    return text, ""


def _text(error: Exception) -> str:
    # vLLM checks its configuration with pydantic, whose own text adds the input, a type and an address.
    messages = [each["msg"] for each in error.errors()] if hasattr(error, "errors") else [str(error)]
    text = " ".join(" ".join(messages).replace("Value error, ", "").split())
    return text or type(error).__name__


def _plain(line: str) -> str:
    """A line of the log as text, where it is JSON; of a traceback, which is one line there, the end."""
    if not line.startswith("{"):
        return line
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line
    text = str(record.get("exc_info") or record.get("message") or "").strip()
    return f"{record.get('levelname')} ] {text.splitlines()[-1] if text else ''}"


def _written_cause(engine_log: Path) -> str | None:
    """The first cause, also one that is on its way into the log."""
    deadline = time.monotonic() + _LOG_SECONDS
    while (text := first_cause(engine_log)) is None and engine_log.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    return text


def first_cause(engine_log: Path) -> str | None:
    """The first error in vLLM's log that is not about another error."""
    with contextlib.suppress(OSError):
        if not engine_log.is_file():
            return None
        with engine_log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
            # What comes behind the last line's end is not whole yet.
            text = file.read(_MOST_BYTES).rpartition(b"\n")[0].decode(errors="replace")
        for line in map(_plain, text.splitlines()):
            found = _CAUSE.search(line)
            if found and not any(words in found["text"] for words in _SECOND_HAND):
                return found["text"]
    return None
