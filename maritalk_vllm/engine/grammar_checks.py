"""Schemas, patterns and grammars that a request brings: refused where xgrammar or the engine would fail of them."""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import StructuredOutputsParams

MOST_CHARACTERS = 131_072
"""Of a schema or grammar. Patterns that are much longer take xgrammar down."""

MOST_GROUPS = 100
"""How deep parentheses may lie in each other: from some thousands on they take xgrammar down."""

_MOST_CHECKED = 65_536
"""Characters of a grammar, as xgrammar prints it, that are looked through in a fifth of a second at most."""

_RULE = re.compile(r"^([\w.-]+) ::= ", re.MULTILINE)
_PART = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\])|(?P<least>\{\s*\d+)[^}]*\}|(?P<name>[A-Za-z_][\w.-]*)|(?P<sign>[()|*?])'
)
_LEFT_OUT = ("*", "?")
_Alternatives = list[list[str]]


def refuse_unusable_grammars() -> None:
    """Have vLLM refuse what it would answer with an internal error, or die of, in this process."""
    from vllm.sampling_params import SamplingParams

    validate = SamplingParams._validate_structured_outputs
    if hasattr(validate, "__wrapped__"):
        return

    @functools.wraps(validate)
    def validate_usable(self: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        asked = self.structured_outputs
        if asked is not None:
            for what, text in _texts(asked):
                _check_size(what, text)
        validate(self, *arguments, **named)
        if asked is not None and asked._backend == "xgrammar":
            _check_ends(asked)

    SamplingParams._validate_structured_outputs = validate_usable


def check_schema(what: str, schema: dict[str, Any]) -> None:
    """Raises VLLMValidationError for a JSON schema that no text can be held to; `what` it is, for the message."""
    import xgrammar

    text = json.dumps(schema)
    if len(text) > MOST_CHARACTERS:
        _check_size(what, text)
    for pattern in _patterns(schema):
        _check_size(what, pattern)
    try:
        grammar = xgrammar.Grammar.from_json_schema(text)
    except (RuntimeError, ValueError) as error:
        raise refusal(what, _reason(error)) from error
    _check_grammar(what, str(grammar))


def refusal(what: str, reason: str) -> "VLLMValidationError":
    """vLLM's error for a request with a schema, pattern or grammar that cannot be used: `what`, and why."""
    from vllm.exceptions import VLLMValidationError

    return VLLMValidationError(f"{what} cannot be used: {reason}.")


def endless_rule(grammar: str) -> str | None:
    """A rule of a grammar, as xgrammar prints it, that no text ever comes to the end of; None if there is none."""
    rules = _parse(grammar)
    waiting: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    ends: set[str] = set()
    found: list[str] = []
    for name, alternatives in rules.items():
        for alternative in alternatives:
            needs = {each for each in alternative if each in rules}
            if not needs:
                found.append(name)
            for each in needs:
                waiting[each].append((name, needs))
    while found:
        name = found.pop()
        if name in ends:
            continue
        ends.add(name)
        for other, needs in waiting[name]:
            needs.discard(name)
            if not needs:
                found.append(other)
    reached, next_ones = {"root"}, ["root"]
    while next_ones:
        for each in {each for alternative in rules.get(next_ones.pop(), ()) for each in alternative} - reached:
            reached.add(each)
            next_ones.append(each)
    # The names of groups have a space.
    endless = (name for name in rules if name in reached and name not in ends and " " not in name)
    return next(endless, None)


def _parse(grammar: str) -> dict[str, _Alternatives]:
    """Each rule's alternatives, by the rules that they need. Groups in parentheses are rules of their own."""
    rules: dict[str, _Alternatives] = {}
    begins = list(_RULE.finditer(grammar))
    for begin, after in zip(begins, [*(each.start() for each in begins[1:]), len(grammar)], strict=True):
        name, body = begin[1], grammar[begin.end() : after]
        if re.match(r"\w+\(", body):  # TagDispatch and others: texts in which tags may come, or none
            rules[name] = [[]]
            continue
        groups: list[_Alternatives] = [[[]]]
        for part in _PART.finditer(body):
            here = groups[-1][-1]
            if part["sign"] == "(":
                groups.append([[]])
            elif part["sign"] == ")" and len(groups) > 1:
                inner = f"{name} ({part.start()})"
                rules[inner] = groups.pop()
                groups[-1][-1].append(inner)
            elif part["sign"] == "|":
                groups[-1].append([])
            elif here and (part["sign"] in _LEFT_OUT or (part["least"] and not int(part["least"][1:]))):
                here.pop()
            elif part["name"] or part["text"]:
                # A text stands for itself: its quotes are in no rule's name.
                here.append(part["name"] or part["text"])
        rules[name] = groups[0]
    return rules


def _check_ends(asked: "StructuredOutputsParams") -> None:
    import xgrammar
    from vllm.v1.structured_output.utils import grammar_is_likely_lark

    if asked.json:
        text = asked.json if isinstance(asked.json, str) else json.dumps(asked.json)
        grammar = xgrammar.Grammar.from_json_schema(text)
    elif asked.grammar and not grammar_is_likely_lark(asked.grammar):
        grammar = xgrammar.Grammar.from_ebnf(asked.grammar)
    elif asked.structural_tag and "structures" not in json.loads(asked.structural_tag):
        grammar = xgrammar.Grammar.from_structural_tag(asked.structural_tag)
    else:
        return
    _check_grammar("The schema or grammar", str(grammar))


def _check_grammar(what: str, printed: str) -> None:
    if len(printed) <= _MOST_CHECKED and (rule := endless_rule(printed)) is not None:
        where = "it" if rule == "root" else f"its part {rule!r}"
        raise refusal(what, f"no text fits, because {where} refers to itself without an end")


def _check_size(what: str, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise refusal(what, f"it has {len(text):,} characters, over the limit of {MOST_CHARACTERS:,}")
    if (deepest := _depth(text)) > MOST_GROUPS:
        raise refusal(what, f"its groups lie {deepest:,} deep in each other, over the limit of {MOST_GROUPS}")


def _depth(text: str) -> int:
    """How deep parentheses lie in each other, at most: those in classes and behind a backslash count for nothing."""
    depth = deepest = 0
    for part in re.finditer(r"\\.|\[(?:[^\]\\]|\\.)*\]|[()]", text, re.DOTALL):
        if part[0] == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif part[0] == ")":
            depth = max(depth - 1, 0)
    return deepest


def _texts(asked: "StructuredOutputsParams") -> Iterator[tuple[str, str]]:
    """Every text in a request for a form, by what it is."""
    for name in ("json", "structural_tag"):
        given = getattr(asked, name)
        if not given:
            continue
        text = given if isinstance(given, str) else json.dumps(given)
        if name == "json" and len(text) > MOST_CHARACTERS:
            yield "The schema", text
            continue
        try:
            schema = json.loads(text)
        except ValueError:  # vLLM says so
            continue
        for pattern in _patterns(schema):
            yield "A pattern of the schema", pattern
    if asked.regex:
        yield "The regular expression", asked.regex
    if asked.grammar:
        yield "The grammar", asked.grammar
    if asked.choice:
        yield "The list of choices", "".join(map(str, asked.choice)).replace("(", "")


def _patterns(schema: object) -> Iterator[str]:
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, list):
            left += node
        elif isinstance(node, dict):
            left += node.values()
            if isinstance(pattern := node.get("pattern"), str):
                yield pattern
            if isinstance(named := node.get("patternProperties"), dict):
                yield from named


def _reason(error: Exception) -> str:
    """xgrammar's message without the time and the place in its source."""
    return re.sub(r"^\[[\d:]+\] \S+: ", "", " ".join(str(error).split())).rstrip(".")
