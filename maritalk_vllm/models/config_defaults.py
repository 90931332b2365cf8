"""Additions of a model type's configuration class to config.json: defaults, other key names, and the text part.

transformers and vLLM read config.json through such a class. `scripts/architectures` extracts this table from the
installed versions, and a test compares the two, so that a plan needs to import neither.
"""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_FILE = Path(__file__).with_name("architectures.json")


class Architecture(msgspec.Struct, frozen=True):
    """A model type.

    `names` are its own names for common keys, and `values` its defaults for keys that config.json leaves out.
    `head_size` is the rule of types that do not divide hidden_size by the number of heads, and `unscaled` says that
    rope_scaling does not change the context length. `layers` is the pattern of layer kinds, one letter each, whose
    period the key `layers_key` may change: s has a sliding window, l caches no tokens, f caches all tokens.

    For a type that contains a text model among others, `text` are its possible places in config.json, `text_type` is
    its row, `text_values` are its defaults if the part is missing, `part_values` if it is present, and `flat` says that
    its keys may also be at the top level. `model_type` is the name that the class of such a row gives itself, if
    different.
    """

    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    head_size: str = ""
    unscaled: bool = False
    layers: str = ""
    layers_key: str = ""
    text: list[str] = []
    text_type: str = ""
    text_values: dict[str, Any] = {}
    part_values: dict[str, Any] = {}
    flat: bool = False
    model_type: str = ""


def find(model_type: str) -> Architecture | None:
    """The row of a model type; None if neither transformers nor vLLM has a class for it."""
    return _table().get(model_type)


@cache
def _table() -> dict[str, Architecture]:
    return msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Architecture])
