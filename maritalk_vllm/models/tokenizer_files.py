"""Check that a model's folder contains a tokenizer."""

from pathlib import Path

import msgspec

from ..errors import WeightsError
from ..i18n.message import msg

_PATTERNS = (
    "tokenizer.json",
    "tokenizer*.model*",
    "tekken.json",
    "vocab.*",
    "*vocab*.json",
    "spiece.model",
    "*.bpe.model",
    "*.spm",
    "spm.model",
    "*.tiktoken",
    "tiktoken.model",
    "tokenization_*.py",
)
"""File names: each kind of tokenizer that transformers or vLLM reads has at least one of them."""

_JSON_FILES = ("tokenizer.json", "tokenizer_config.json", "tekken.json")
_HINT = "Copy or download it again."


def check_tokenizer(folder: Path) -> None:
    """Raises WeightsError if the folder has no tokenizer, or a file of it is damaged."""
    if not any(file.is_file() for pattern in _PATTERNS for file in folder.glob(pattern)):
        raise WeightsError(
            msg("{folder} has no tokenizer: no tokenizer.json, tokenizer.model or other vocabulary.", folder=folder),
            "Copy or download it too, or name the folder of one: -- --tokenizer FOLDER.",
        )
    for name in _JSON_FILES:
        file = folder / name
        if file.is_file():
            try:
                msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
            except OSError as error:
                raise WeightsError(
                    msg("{target} cannot be read: {reason}.", target=file, reason=error.strerror)
                ) from error
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise WeightsError(msg("{file} is damaged: {error}.", file=file, error=error), _HINT) from error
