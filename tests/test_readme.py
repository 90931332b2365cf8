"""The help and the defaults that documents quote match the code. tests/documents runs their commands."""

import json
import os

import msgspec

from maritalk_vllm.api.local_schema import LocalRequest
from maritalk_vllm.settings import Settings
from tests.commands import run
from tests.documents.pages import blocks, read


def test_the_documented_help_is_the_printed_help() -> None:
    text = run("maritalk-serve", "--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert text in [block.text for block in blocks("docs/options.md")]


def test_the_table_of_fields_has_the_defaults() -> None:
    for field in msgspec.structs.fields(LocalRequest):
        default = [] if field.name == "stop_sequences" else field.default
        assert f"| `{field.name}` | `{json.dumps(default)}` |" in read("docs/api.md")
    assert Settings().time_unit == "ms"
