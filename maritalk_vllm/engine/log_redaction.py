"""Keep secrets and users' texts out of the log of vLLM 0.32 and 0.33.

Secrets come from flags and the environment. When a step fails, vLLM logs it with all of its requests: without their
prompts, but with their stop strings, forbidden words, schemas and grammars.
"""

import dataclasses
import enum
import logging
from collections.abc import Mapping, Set
from typing import Any

from ..masking import LogFilter, masked

_TEXT_FIELDS = ("params", "mm_features", "prompt", "lora_request")
"""Fields whose names contain one of these hold users' texts; strings elsewhere are request ids."""

_TOKEN_FIELDS = ("token_ids", "spec_decode_tokens", "is_token")
"""Fields whose names contain one of these hold token ids."""

_MAX_DEPTH = 6
_MAX_ENTRIES = 1000
"""Longer collections are logged by their length."""


def mask_secrets(secrets: Set[str]) -> None:
    """Mask `secrets` in the log of vLLM and its libraries, in this process and in processes forked from it."""
    if secrets:
        for logger in (logging.getLogger("vllm"), logging.getLogger()):
            for handler in logger.handlers:
                handler.addFilter(LogFilter(secrets))


def redact_step_dumps() -> None:
    """Patch vLLM to log a failed step without users' texts, in this process and in processes forked from it."""
    from vllm.logging_utils import dump_input

    dump_input._dump_engine_exception = _log_step


def _log_step(config: object, scheduler_output: object, scheduler_stats: object) -> None:
    """Replaces vLLM's function; messages begin with the same text."""
    from vllm.logging_utils.dump_input import logger
    from vllm.version import __version__

    logger.error("Dumping input data for V1 LLM engine (v%s) with config: %s, ", __version__, masked(str(config)))
    logger.error("Dumping scheduler output for model execution: %s", outline(scheduler_output))
    if scheduler_stats:
        logger.error("Dumping scheduler stats: %s", outline(scheduler_stats))


def outline(value: Any, *, texts: bool = False, depth: int = 0) -> str:  # noqa: ANN401
    """Format a vLLM object on one line: numbers and request ids as they are, users' texts and tokens by length.

    `texts`: every string in `value` is a user's text.
    """
    if value is None or isinstance(value, bool | int | float | enum.Enum):
        return repr(value)
    if isinstance(value, str):
        return f"<{len(value)} characters>" if texts else repr(value)
    if hasattr(value, "shape"):
        return f"{type(value).__name__}(shape={tuple(value.shape)})"
    if depth == _MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping | list | tuple | Set) and (texts or len(value) > _MAX_ENTRIES):
        return f"<{len(value)} entries>"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {outline(each, depth=depth + 1)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple | Set):
        return f"[{', '.join(outline(each, depth=depth + 1) for each in value)}]"
    shown = (f"{name}={_field(name, each, texts, depth)}" for name, each in _fields(value).items())
    return f"{type(value).__name__}({', '.join(shown)})"


def _field(name: str, value: Any, texts: bool, depth: int) -> str:  # noqa: ANN401
    if any(word in name for word in _TOKEN_FIELDS):
        return _lengths(value)
    return outline(value, texts=texts or any(word in name for word in _TEXT_FIELDS), depth=depth + 1)


def _lengths(value: Any) -> str:  # noqa: ANN401
    """The number of tokens, for each request if there are several."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_lengths(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple | Set):
        if any(isinstance(each, list | tuple) for each in value):
            return f"[{', '.join(map(_lengths, value))}]"
        return f"<{len(value)}>"
    return f"<{type(value).__name__}>" if value is not None else "None"


def _fields(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """The fields of a dataclass, msgspec.Struct or other object, except those that are None."""
    names = (
        [each.name for each in dataclasses.fields(value)]
        if dataclasses.is_dataclass(value)
        else getattr(value, "__struct_fields__", None) or list(getattr(value, "__dict__", ()))
    )
    return {name: each for name in names if (each := getattr(value, name, None)) is not None}
