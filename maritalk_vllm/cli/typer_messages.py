"""Typer's errors and the facts in its help: finished English text, recognized so that it can be translated."""

import functools
import re
from collections.abc import Mapping

from ..i18n.message import Message, msg, placeholders

_OPTIONS = "No such option: {option} (Possible options: {options})"

TEMPLATES = (
    _OPTIONS,
    "No such option: {option}",
    "No such command {name}. Did you mean {word}?",
    "No such command {name}.",
    "Missing {kind} {hint}.",
    "Missing {kind}.",
    "Invalid value for {hint}: {message}",
    "Option {name} requires an argument.",
    "Option {name} does not take a value.",
    "Got unexpected extra argument(s) ({arguments})",
    "{value} is not one of {choices}.",
    "Input should be greater than or equal to {least}",
    "Input should be less than or equal to {most}",
    # Errors of our own parsers, which Typer reduces to their text.
    "{text!r} is no number of tokens: write it as 8000, 8k (8,000) or 8K (8,192).",
    "{text!r} is no number of tokens: the least is 1.",
    "{text!r} is no whole number of tokens.",
    "{text!r} has a fraction, which 8K and 8M cannot have: write {decimal}.",
    "{text!r} is no date: write it as YYYY-MM-DD, such as 2036-01-31.",
    "there is no user {user} on this machine.",
    "env var: {variable}",
    "default: ({default})",
    "default: {default}",
)
"""Texts of Typer, and of pydantic, with which it parses values. Others are in the catalogue as they are."""

_WORDS = frozenset({"option", "argument"})
"""Values of placeholders that are translated."""


def recognized(text: str) -> str:
    """The text as a message, if it is one of Typer's; else the text itself."""
    for template in TEMPLATES:
        if found := _pattern(template).fullmatch(text):
            values = _values(found.groupdict())
            if template == _OPTIONS and "," not in found["options"]:
                return msg(
                    "No such option: {option}. Did you mean {word}?", option=values["option"], word=values["options"]
                )
            return Message(template, values)
    return text


def _values(texts: Mapping[str, str]) -> dict[str, object]:
    return {name: Message(text, {}) if text in _WORDS else recognized(text) for name, text in texts.items()}


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template)
    for name in placeholders(template):
        for written, value in ((f"{{{name}}}", "(?P<{}>.+)"), (f"{{{name}!r}}", "'(?P<{}>.+)'")):
            pattern = pattern.replace(re.escape(written), value.format(name))
    return re.compile(pattern, re.DOTALL)
