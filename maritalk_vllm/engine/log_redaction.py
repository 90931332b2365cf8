"""What vLLM's log must not hold: secrets of flags and the environment, and what users write (0.32 and 0.33).

When a step fails, vLLM logs the step with all of its requests. It leaves out their prompts, and repeats their stop
strings, forbidden words, schemas and grammars.
"""

import dataclasses
import enum
import logging
from collections.abc import Mapping, Set
from typing import Any

from ..masking import LogFilter, masked

_TEXTS = ("params", "mm_features", "prompt", "lora_request")
"""In fields with such words in their names, every text is a user's; elsewhere texts are numbers of requests."""

_TOKENS = ("token_ids", "spec_decode_tokens", "is_token")
"""Fields with such words hold texts as tokens."""

_DEEPEST = 6
_MOST = 1000
"""So many entries of a list are logged."""


def keep_secrets_out(secrets: Set[str]) -> None:
    """Mask these values in all that vLLM and its libraries log from now on, here and in processes forked from here."""
    if secrets:
        for logger in (logging.getLogger("vllm"), logging.getLogger()):
            for handler in logger.handlers:
                handler.addFilter(LogFilter(secrets))


def keep_texts_out() -> None:
    """Log a failed step by its numbers, in this process and in those forked from it."""
    from vllm.logging_utils import dump_input

    dump_input._dump_engine_exception = _log_step


def _log_step(config: object, scheduler_output: object, scheduler_stats: object) -> None:
    """In the place of vLLM's own, with the same first words."""
    from vllm.logging_utils.dump_input import logger
    from vllm.version import __version__

    logger.error("Dumping input data for V1 LLM engine (v%s) with config: %s, ", __version__, masked(str(config)))
    logger.error("Dumping scheduler output for model execution: %s", outline(scheduler_output))
    if scheduler_stats:
        logger.error("Dumping scheduler stats: %s", outline(scheduler_stats))


def outline(value: Any, *, texts: bool = False, depth: int = 0) -> str:  # noqa: ANN401
    """A value of vLLM's on one line: numbers and numbers of requests as they are, texts and tokens by their length.

    `texts`: all text in it is a user's.
    """
    if value is None or isinstance(value, bool | int | float | enum.Enum):
        return repr(value)
    if isinstance(value, str):
        return f"<{len(value)} characters>" if texts else repr(value)
    if hasattr(value, "shape"):
        return f"{type(value).__name__}(shape={tuple(value.shape)})"
    if depth == _DEEPEST:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping | list | tuple | Set) and (texts or len(value) > _MOST):
        return f"<{len(value)} entries>"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {outline(each, depth=depth + 1)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple | Set):
        return f"[{', '.join(outline(each, depth=depth + 1) for each in value)}]"
    shown = (f"{name}={_field(name, each, texts, depth)}" for name, each in _fields(value).items())
    return f"{type(value).__name__}({', '.join(shown)})"


def _field(name: str, value: Any, texts: bool, depth: int) -> str:  # noqa: ANN401
    if any(word in name for word in _TOKENS):
        return _lengths(value)
    return outline(value, texts=texts or any(word in name for word in _TEXTS), depth=depth + 1)


def _lengths(value: Any) -> str:  # noqa: ANN401
    """How many tokens there are, of each request where they are of several."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_lengths(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple | Set):
        if any(isinstance(each, list | tuple) for each in value):
            return f"[{', '.join(map(_lengths, value))}]"
        return f"<{len(value)}>"
    return f"<{type(value).__name__}>" if value is not None else "None"


def _fields(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Of a dataclass, of a msgspec.Struct, or of any other object; those that stand for nothing are left out."""
    names = (
        [each.name for each in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else getattr(value, "__struct_fields__", None) or list(getattr(value, "__dict__", ()))
    )
    return {name: each for name in names if (each := getattr(value, name, None)) is not None}
