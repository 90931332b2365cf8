"""Files and folders that flags for vLLM name, beside the model's own."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...planning.memory_flags import read_flags

_PATHS = (
    *("--chat-template", "--generation-config", "--hf-config-path", "--mm-encoder-fp8-scale-path"),
    *("--reasoning-parser-plugin", "--tokenizer", "--tool-parser-plugin"),
)
"""The flags whose value may be a file or folder that vLLM reads once, when an engine or an API process starts."""


def lora_folders(engine_args: Sequence[str]) -> Iterator[str]:
    """Yield the folders in --lora-modules, given as `name=folder` or as JSON."""
    arguments = iter(engine_args)
    for argument in arguments:
        if argument.replace("_", "-") != "--lora-modules":
            continue
        for value in arguments:
            if value.startswith("-"):
                break
            path = _json_object(value).get("path")
            if isinstance(path, str):
                yield path
            elif "=" in value:
                yield value.partition("=")[2]


def flag_files(engine_args: Sequence[str]) -> list[Path]:
    """The existing files and folders, each once: templates, tokenizers, plugins, LoRA adapters and draft models."""
    given = read_flags(engine_args)
    named = [given.get(name, "") for name in _PATHS]
    named.append(str(_json_object(given.get("--speculative-config", "")).get("model") or ""))
    named += lora_folders(engine_args)
    paths = (Path(each).expanduser().absolute() for each in dict.fromkeys(named) if each)
    return [path for path in paths if _exists(path)]


def _json_object(text: str) -> dict[str, Any]:
    """The object that `text` holds; empty if it holds no JSON object."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a template given as text is too long for a path, or holds a null byte
        return False
