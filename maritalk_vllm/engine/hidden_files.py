"""Make vLLM 0.32 and 0.33 ignore hidden files beside the weights, such as macOS's `._model.safetensors`.

Its loader ignores them, but to find the dtype of the weights, or an untied output head, it reads the header of every
`.safetensors` file, and raises MemoryError for the length that it finds there.
"""

from pathlib import Path
from typing import Any


def ignore_hidden_files() -> None:
    """Patch vLLM in this process and in processes forked from it."""
    from vllm.transformers_utils import config

    read = getattr(config, "parse_safetensors_file_metadata", None)
    if read is None or hasattr(read, "__wrapped__"):  # another version of vLLM, or already patched
        return

    def read_visible(path: str | Path) -> dict[str, Any]:
        tensors: dict[str, Any] = {} if Path(path).name.startswith(".") else read(path)
        return tensors

    read_visible.__wrapped__ = read  # type: ignore[attr-defined]
    config.parse_safetensors_file_metadata = read_visible
