"""Schemas and grammars that match no text or are too large are rejected; others are accepted."""

import json
from typing import Any

import pytest

from maritalk_vllm.engine import grammar_checks
from maritalk_vllm.engine.grammar_checks import MAX_CHARACTERS, MAX_NESTED_GROUPS, check_schema, find_endless_rule

# Imports of xgrammar cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
ENDLESS: list[dict[str, Any]] = [
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}]},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"$ref": "#/$defs/node", "$defs": {"node": {**NODE, "required": ["next"]}}},
]
VALID: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "array", "items": {"$ref": "#"}},
    {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    {"type": "string", "pattern": '[(\\]"x]*(a|b)*c?'},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"enum": ["(", ")", "|", "root ::= root", '"', "{0, 1}"]},
]
GRAMMARS = {
    "root ::= root": "root",
    'root ::= "a" x\nx ::= x': "root",
    'root ::= x | y\nx ::= "a" y\ny ::= "b" x': "root",
    'root ::= "a" | "b" x\nx ::= "c" x': "x",
    "root ::= (root)+": "root",
    'root ::= "a" x*\nx ::= "b" x': "x",
    'root ::= root "a" | "b"': None,
    'root ::= (root "x"){0,3} "b"': None,
    'root ::= "(" [^"\\n\\]]{2,5} (x | "" )* y?\nx ::= [a-z]+ "b"\ny ::= "b"': None,
}


@pytest.mark.parametrize("schema", ENDLESS, ids=json.dumps)
def test_endlessly_recursive_schema_is_rejected(schema: dict[str, Any]) -> None:
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError, match=r"^It cannot be used: no text fits, because .* refers to itself"):
        check_schema("It", schema)


@pytest.mark.parametrize("schema", VALID, ids=json.dumps)
def test_valid_schema_is_accepted(schema: dict[str, Any]) -> None:
    check_schema("It", schema)


@pytest.mark.parametrize(("text", "rule"), GRAMMARS.items())
def test_endless_rule_of_a_grammar(text: str, rule: str | None) -> None:
    from xgrammar import Grammar

    assert find_endless_rule(str(Grammar.from_ebnf(text))) == rule


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "foo"}, 'Unsupported type "foo"'),
        ({"type": "string", "pattern": "(("}, "Regex parsing error"),
        ({"type": "string", "pattern": "(" * 101 + ")" * 101}, "its groups lie 101 deep in each other, over the limit"),
        ({"enum": ["a" * MAX_CHARACTERS]}, "it has 131,086 characters, over the limit of 131,072"),
    ],
)
def test_invalid_schema_is_rejected(schema: dict[str, Any], reason: str) -> None:
    from vllm.exceptions import VLLMValidationError

    with pytest.raises(VLLMValidationError) as caught:
        check_schema("It", schema)
    assert str(caught.value).startswith("It cannot be used: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("(" * MAX_NESTED_GROUPS, MAX_NESTED_GROUPS),
        ("(a)(b)", 1),
        (r"\(\(", 0),
        ("[((]", 0),
        (r"[\](]((", 2),
        ("))((", 2),
    ],
)
def test_nesting_depth_of_groups(text: str, depth: int) -> None:
    assert grammar_checks._depth(text) == depth
