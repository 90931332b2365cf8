"""Reject schemas, patterns and grammars of requests that would crash xgrammar or the engine."""

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import StructuredOutputsParams

MAX_CHARACTERS = 131_072
"""Maximum length of a schema or grammar. Much longer patterns crash xgrammar."""

MAX_NESTED_GROUPS = 100
"""Maximum nesting depth of parentheses. Some thousands of levels crash xgrammar."""

_MAX_CHECKED = 65_536
"""Maximum characters of a printed grammar to analyse, which takes a fifth of a second at most."""

_RULE = re.compile(r"^([\w.-]+) ::= ", re.MULTILINE)
_PART = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\])|(?P<least>\{\s*\d+)[^}]*\}|(?P<name>[A-Za-z_][\w.-]*)|(?P<sign>[()|*?])'
)
_OPTIONAL = ("*", "?")
_Alternatives = list[list[str]]


def reject_unusable_grammars() -> None:
    """Patch vLLM in this process to reject grammars that it would answer with an internal error or crash on."""
    from vllm.sampling_params import SamplingParams

    validate = SamplingParams._validate_structured_outputs
    if hasattr(validate, "__wrapped__"):
        return

    @functools.wraps(validate)
    def validate_and_check(self: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        params = self.structured_outputs
        if params is not None:
            for what, text in _constraint_texts(params):
                _check_size(what, text)
        validate(self, *arguments, **named)
        if params is not None and params._backend == "xgrammar":
            _check_terminates(params)

    SamplingParams._validate_structured_outputs = validate_and_check


def check_schema(what: str, schema: dict[str, Any]) -> None:
    """Raise VLLMValidationError for a JSON schema that cannot constrain a text. `what` names it in the message."""
    import xgrammar

    text = json.dumps(schema)
    if len(text) > MAX_CHARACTERS:
        _check_size(what, text)
    for pattern in _patterns(schema):
        _check_size(what, pattern)
    try:
        grammar = xgrammar.Grammar.from_json_schema(text)
    except (RuntimeError, ValueError) as error:
        raise grammar_error(what, _reason(error)) from error
    _check_grammar(what, str(grammar))


def grammar_error(what: str, reason: str) -> "VLLMValidationError":
    """vLLM's error for an unusable schema, pattern or grammar: `what` names it, `reason` says why."""
    from vllm.exceptions import VLLMValidationError

    return VLLMValidationError(f"{what} cannot be used: {reason}.")


def find_endless_rule(grammar: str) -> str | None:
    """Return a reachable rule that derives no finite text, or None. `grammar` is in xgrammar's printed form."""
    rules = _parse(grammar)
    waiting: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    terminating: set[str] = set()
    queue: list[str] = []
    for name, alternatives in rules.items():
        for alternative in alternatives:
            needs = {each for each in alternative if each in rules}
            if not needs:
                queue.append(name)
            for each in needs:
                waiting[each].append((name, needs))
    while queue:
        name = queue.pop()
        if name in terminating:
            continue
        terminating.add(name)
        for other, needs in waiting[name]:
            needs.discard(name)
            if not needs:
                queue.append(other)
    reached, next_ones = {"root"}, ["root"]
    while next_ones:
        for each in {each for alternative in rules.get(next_ones.pop(), ()) for each in alternative} - reached:
            reached.add(each)
            next_ones.append(each)
    # Names of groups, unlike those of rules, contain a space.
    endless = (name for name in rules if name in reached and name not in terminating and " " not in name)
    return next(endless, None)


def _parse(grammar: str) -> dict[str, _Alternatives]:
    """The alternatives of each rule, as the names they refer to. Each parenthesized group becomes a rule."""
    rules: dict[str, _Alternatives] = {}
    headers = list(_RULE.finditer(grammar))
    for header, end in zip(headers, [*(each.start() for each in headers[1:]), len(grammar)], strict=True):
        name, body = header[1], grammar[header.end() : end]
        if re.match(r"\w+\(", body):  # TagDispatch and others: free text that may contain tags
            rules[name] = [[]]
            continue
        groups: list[_Alternatives] = [[[]]]
        for part in _PART.finditer(body):
            alternative = groups[-1][-1]
            if part["sign"] == "(":
                groups.append([[]])
            elif part["sign"] == ")" and len(groups) > 1:
                inner = f"{name} ({part.start()})"
                rules[inner] = groups.pop()
                groups[-1][-1].append(inner)
            elif part["sign"] == "|":
                groups[-1].append([])
            elif alternative and (part["sign"] in _OPTIONAL or (part["least"] and not int(part["least"][1:]))):
                alternative.pop()
            elif part["name"] or part["text"]:
                # A literal is kept as is: no rule name contains quotes.
                alternative.append(part["name"] or part["text"])
        rules[name] = groups[0]
    return rules


def _check_terminates(params: "StructuredOutputsParams") -> None:
    import xgrammar
    from vllm.v1.structured_output.utils import grammar_is_likely_lark

    if params.json:
        text = params.json if isinstance(params.json, str) else json.dumps(params.json)
        grammar = xgrammar.Grammar.from_json_schema(text)
    elif params.grammar and not grammar_is_likely_lark(params.grammar):
        grammar = xgrammar.Grammar.from_ebnf(params.grammar)
    elif params.structural_tag and "structures" not in json.loads(params.structural_tag):
        grammar = xgrammar.Grammar.from_structural_tag(params.structural_tag)
    else:
        return
    _check_grammar("The schema or grammar", str(grammar))


def _check_grammar(what: str, printed: str) -> None:
    if len(printed) <= _MAX_CHECKED and (rule := find_endless_rule(printed)) is not None:
        where = "it" if rule == "root" else f"its part {rule!r}"
        raise grammar_error(what, f"no text fits, because {where} refers to itself without an end")


def _check_size(what: str, text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise grammar_error(what, f"it has {len(text):,} characters, over the limit of {MAX_CHARACTERS:,}")
    if (depth := _depth(text)) > MAX_NESTED_GROUPS:
        raise grammar_error(what, f"its groups lie {depth:,} deep in each other, over the limit of {MAX_NESTED_GROUPS}")


def _depth(text: str) -> int:
    """Maximum nesting depth of parentheses, except escaped ones and those in character classes."""
    depth = max_depth = 0
    for part in re.finditer(r"\\.|\[(?:[^\]\\]|\\.)*\]|[()]", text, re.DOTALL):
        if part[0] == "(":
            depth += 1
            max_depth = max(max_depth, depth)
        elif part[0] == ")":
            depth = max(depth - 1, 0)
    return max_depth


def _constraint_texts(params: "StructuredOutputsParams") -> Iterator[tuple[str, str]]:
    """Each text of the structured-output parameters, with its name for messages."""
    for name in ("json", "structural_tag"):
        given = getattr(params, name)
        if not given:
            continue
        text = given if isinstance(given, str) else json.dumps(given)
        if name == "json" and len(text) > MAX_CHARACTERS:
            yield "The schema", text
            continue
        try:
            schema = json.loads(text)
        except ValueError:  # vLLM rejects it
            continue
        for pattern in _patterns(schema):
            yield "A pattern of the schema", pattern
    if params.regex:
        yield "The regular expression", params.regex
    if params.grammar:
        yield "The grammar", params.grammar
    if params.choice:
        yield "The list of choices", "".join(map(str, params.choice)).replace("(", "")


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
    """xgrammar's message without its timestamp and source location."""
    return re.sub(r"^\[[\d:]+\] \S+: ", "", " ".join(str(error).split())).rstrip(".")
