"""Why vLLM did not start, in one sentence."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import EngineError, MariTalkError

# A traceback's last line, as vLLM's loggers write it: "(Worker pid=7) ERROR 11-23 10:00:00 [x.py:1] ValueError: text".
_CAUSE = re.compile(r"\bERROR\b.*?\]\s+(?:\w+\.)*\w*(?:Error|Exception): (?P<text>.+)")
# What a process says of another process's failure.
_SECOND_HAND = ("initialization failed", "root cause")


@contextlib.contextmanager
def told(engine_log: Path) -> Iterator[None]:
    """Turn what vLLM raises at its start into an EngineError that names the first cause, also of another process."""
    try:
        yield
    except MariTalkError:
        raise
    except Exception as error:
        text = _text(error)
        if any(words in text for words in _SECOND_HAND):
            text = first_cause(engine_log) or text
        raise EngineError(f"vLLM failed to start: {text}", f"Its log has the details: {engine_log}") from error


def _text(error: Exception) -> str:
    # vLLM checks its configuration with pydantic, whose own text adds the input, a type and an address.
    messages = [each["msg"] for each in error.errors()] if hasattr(error, "errors") else [str(error)]
    text = " ".join(" ".join(messages).replace("Value error, ", "").split())
    return text or type(error).__name__


def first_cause(engine_log: Path) -> str | None:
    """The first error in vLLM's log that is not about another error."""
    with contextlib.suppress(OSError):
        for line in engine_log.read_text(errors="replace").splitlines():
            found = _CAUSE.search(line)
            if found and not any(words in found["text"] for words in _SECOND_HAND):
                return found["text"]
    return None
