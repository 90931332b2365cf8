"""What the classes of model types add to config.json: values that it leaves out, other names, and where the text is.

transformers and vLLM read config.json through such a class. `scripts/architectures` writes them down from those that
are installed, and a test compares the two, so that a plan needs to import neither.
"""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

_FILE = Path(__file__).with_name("architectures.json")


class Architecture(msgspec.Struct, frozen=True):
    """A model type.

    `names` are its own names for common keys, and `values` what it has where config.json leaves a key out.
    `head_size` is the rule of those that do not divide hidden_size by the heads, and `unscaled` says that rope_scaling
    changes no length. `layers` are the kinds of layers, a letter for each, that repeat as often as the key `layers_key`
    says: s with a sliding window, l that keeps nothing of a token, f with all of them.

    Of a type that holds a text model beside others, `text` are its places in config.json, `text_type` its row,
    `text_values` what it has where it is left out as a whole, `part_values` where it is not, and `flat` says that its
    keys may also stand at the top. `model_type` is what the class of such a row calls itself, if that is another.
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
    """The row of a model type; None for one that neither transformers nor vLLM has a class for."""
    return _table().get(model_type)


@cache
def _table() -> dict[str, Architecture]:
    return msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Architecture])
