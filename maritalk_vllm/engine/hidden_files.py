"""Hidden files beside the weights, such as macOS's `._model.safetensors`, of which vLLM reads the headers (0.32).

Its loader overlooks them, but where it looks for the type of the weights, or for an output head of their own, it reads
every file of that ending, and ends in a MemoryError over the length that it finds.
"""

from pathlib import Path
from typing import Any


def overlook_hidden_files() -> None:
    """Leave them out in this process and in those forked from it."""
    from vllm.transformers_utils import config

    read = getattr(config, "parse_safetensors_file_metadata", None)
    if read is None or hasattr(read, "__wrapped__"):  # a vLLM that reads them otherwise, or done already
        return

    def read_visible(path: str | Path) -> dict[str, Any]:
        tensors: dict[str, Any] = {} if Path(path).name.startswith(".") else read(path)
        return tensors

    read_visible.__wrapped__ = read  # type: ignore[attr-defined]
    config.parse_safetensors_file_metadata = read_visible
