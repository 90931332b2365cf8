"""The gettext catalogue has a translation of every message that the commands print, and no other entries."""

import ast
import errno
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from pydantic_core import PydanticKnownError
from typer.main import get_command

from maritalk_vllm.cli import serve, tools_app
from maritalk_vllm.cli.typer_messages import TEMPLATES
from maritalk_vllm.i18n.message import placeholders
from maritalk_vllm.i18n.rendering import CATALOGUE
from tests.sentences import PACKAGE, is_sentence, modules, normal, spelled, strings

NO_SENTENCE = {
    "what MariTalk Local prints as well, and programs look for": (
        r"Start using MariTalk Local API:.*|Starting MariTalk Local API \{\}\.\.\.|✓ Loaded in .*"
        r"|.*Warming up\.\.\.|.*Listening on \{\}"
        r"|sugira um nome para o meu peixe|What is the capital of Japan\?|The capital of Japan is Tokyo\."
        r"|.Authorization: Bearer \$MARITALK_API_KEY."
    ),
    "what the log, or /docs, says": (
        r"\{\}\+\{\} tokens, queue .*|lost \{\} s|hung up|MariTalk on vLLM|In order again: \{\}\."
        r"|\{\} bytes of this log were lost: .*|The log cannot be written: its lines are lost\."
        r"|Configuration, API keys and certificate were read .*|All files were read again on SIGHUP.*"
        r"|the model's changed files|API keys|The temporary folder was removed .*"
        r"|The model's (?:changed )?files (?:have changed[ ,]|cannot be used: ).*"
        r"|Changes to these options .*"
        r"|A reload could not be .*|The supervisor's reload .*|A message of the server's own processes was lost: .*"
        r"|The supervisor cannot answer at the port: .*|The model's files cannot be looked at: .*"
        r"|What an API process that died had in flight still counts: .*"
        r"|The .* that (was|were) read before stays? .*|The file of API keys holds no key: .*"
        r"|No more connections can be accepted for now: .*|The node at %s is refused: %s"
        r"|The host at %s is no node: %s|What listens at %s is no node 0: %s"
        r"|The connection to the node at %s is closed: %s"
        r"|The measured KV cache in \{\} is ignored: .*|The measured KV cache cannot be kept .*"
        r"|The engine counts as hung after .*"
        r"|Dumping .*: %s(, )?|<\{\} (characters|entries)>"
    ),
    "what `systemctl status` says": r"Loading \{\}|Finishing what runs",
    "for developers": (
        r"\{\} is never followed by \{\}|pyproject\.toml names no \{\}|a plan for the CPU needs a host"
        r"|The text has no value \{\}\.|The text has a number in an unknown format\."
        r"|an event that is no object|presigned_url and model_size must be .*"
        r"|Expected `\w+`, got `\{\}`|Expected `\{\}`, got `\{\}`"
        r"|The message has \{\} descriptors, and not number \{\}"
    ),
    "found in what vLLM, or a library, says": (
        r".*os error .*|initialization failed|root cause|Executor failed|start new thread|Value error|runtime started"
        r"|peer closed connection|Server disconnected|Error \{\}"
    ),
    "a database's language": r"(SELECT|INSERT|UPDATE|BEGIN|PRAGMA) .*|BEGIN; .*|\{\} (WHERE|ORDER) .*",
    "a file, a header, a process's name": (
        r"#!/bin/sh.*|import ctypes; .*"
        r"|\{\}exec .*|Bearer \{\}|artifact=weights.*|maritalk: \w+|maritalk-(vllm|serve) (\w+|\{\})"
    ),
    "a part of a command line, a number's unit, or what is counted": (
        r"\[env var: \{\}\]|\[MODEL\] \[-- VLLM FLAGS\]|\{\} max_tokens=\{\}|\{\} ms|\{\} GB|\{\}; \{\}\."
    ),
}

OF_NUMBERS: tuple[tuple[Any, Any], ...] = (
    ("int_parsing", None),
    ("float_parsing", None),
    ("bool_parsing", None),
    ("greater_than_equal", {"ge": 0}),
    ("less_than_equal", {"le": 0}),
    ("value_error", {"error": ""}),
)
"""Pydantic's errors about numbers and switches: Typer parses values with it."""

SAME_IN_BOTH = {"cuda", "driver", "flashinfer", "gpus", "id", "torch", "vllm"}
"""Words that are the same in Portuguese."""


@functools.cache
def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file, abort_invalid=True)


@functools.cache
def keys() -> frozenset[str]:
    """Each English text of the catalogue: singular and plural."""
    return frozenset(text for message in catalogue() if message.id for text in _texts(message.id))


def _texts(text: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())


def commands() -> Iterator[Any]:
    """Both commands and all their subcommands."""
    waiting: list[Any] = [get_command(serve.app), get_command(tools_app.app)]
    while waiting:
        command = waiting.pop()
        yield command
        waiting += getattr(command, "commands", {}).values()


def helps() -> Iterator[str]:
    """The help text of each command and of each of its options."""
    for command in commands():
        # A line break within a paragraph is the source's.
        yield from (" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
        for parameter in command.params:
            yield (parameter.help or "").partition("  [")[0]
            if isinstance(shown := getattr(parameter, "show_default", None), str):
                yield shown


def calls(*functions: str) -> Iterator[tuple[str, ast.Call]]:
    """Each call of these functions of maritalk_vllm/i18n/message.py or rendering.py, and its place."""
    for place, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in functions:
                yield f"{place}:{node.lineno}", node


def constants(node: ast.expr) -> Iterator[ast.expr]:
    """The expression, or both of a conditional expression."""
    if isinstance(node, ast.IfExp):
        yield from (*constants(node.body), *constants(node.orelse))
    else:
        yield node


def templates() -> Iterator[tuple[str, str, set[str | None]]]:
    """Each template of a message: its place, its text, and the names of its values."""
    for place, call in calls("msg", "say"):
        for each in constants(call.args[0]):
            assert isinstance(each, ast.Constant), f"{place}: a template is a constant: {ast.unparse(each)}"
            yield place, str(each.value), {keyword.arg for keyword in call.keywords}
    for place, call in calls("pluralized"):
        for each in call.args[1:]:
            assert isinstance(each, ast.Constant), f"{place}: a template is a constant: {ast.unparse(each)}"
            # Some agree with a number that they do not name.
            number = {"number"} & set(placeholders(str(each.value)))
            yield place, str(each.value), {*number, *(keyword.arg for keyword in call.keywords)}


def errors() -> Iterator[tuple[str, str]]:
    """Each literal message and hint that an error is constructed with, and its place."""
    for place, tree in modules().items():
        for node in ast.walk(tree):
            name = getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and re.search("Error$|^(NoSuitableGPU|DoesNotFit|Unavailable)$", name):
                if name.startswith(("Value", "Type", "Assertion", "Key", "OS")):
                    continue
                for argument in node.args:
                    if (text := spelled(argument)) is not None and re.search(r"[a-z]{2}", normal(text)):
                        yield f"{place}:{node.lineno}", text


def of_others() -> Iterator[str]:
    """Messages of libraries that we print: Typer's, pydantic's, the operating system's."""
    for file in Path(typer.__file__).parent.rglob("*.py"):
        yield from (text for _, text in strings(ast.parse(file.read_text())))
    yield from (PydanticKnownError(kind, context).message_template for kind, context in OF_NUMBERS)
    yield from map(os.strerror, errno.errorcode)


@functools.cache
def said() -> set[str]:
    """Every string in the modules that print messages."""
    return {text for tree in modules().values() for _, text in strings(tree)}


@pytest.mark.parametrize("reason", NO_SENTENCE)
def test_each_exemption_matches_a_string(reason: str) -> None:
    assert any(re.fullmatch(NO_SENTENCE[reason], normal(text)) for text in said())


def test_every_sentence_in_the_code_has_an_entry() -> None:
    """An f-string with words in it is none: it has to be a message with a template."""
    exempt = re.compile("|".join(f"(?:{each})" for each in NO_SENTENCE.values()))
    missing = [
        f"{place}:{line}: {text}"
        for place, tree in modules().items()
        for line, text in strings(tree)
        if is_sentence(normal(text)) and text not in keys() and not exempt.fullmatch(normal(text))
    ]
    assert missing == []


def test_every_template_has_an_entry_and_a_value_for_each_name() -> None:
    wrong = [
        f"{place}: {template}"
        for place, template, names in templates()
        if None not in names and set(placeholders(template)) != {name and re.split("[!:]", name)[0] for name in names}
    ]
    assert wrong == []
    missing = [
        f"{place}: {text}" for place, text, _ in templates() if re.search("[a-z]", normal(text)) and text not in keys()
    ]
    assert missing == []


def test_every_error_message_has_an_entry() -> None:
    assert [(place, text) for place, text in errors() if text not in keys()] == []


def test_every_help_text_has_an_entry() -> None:
    assert [text for text in helps() if text and text not in keys()] == []


def test_single_words_that_are_translated_have_entries() -> None:
    """The names of checks, and what is translated word by word: table headings and cells."""
    words = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[: None if name == "_head" else 1]
                if name in ("_head", "localized", "ok", "warning", "problem", "tried", "run"):
                    words |= {text for each in first if (text := spelled(each)) is not None}
    assert {"licence", "expires", "never", "driver"} <= words
    alone = {word for word in words if re.search("[a-z]", word) and not is_sentence(word)}
    assert {word for word in alone if word not in keys()} == SAME_IN_BOTH


def test_every_entry_occurs_in_the_code() -> None:
    ours = {text for file in PACKAGE.rglob("*.py") for _, text in strings(ast.parse(file.read_text()))}
    every = {*ours, *helps(), *of_others(), *TEMPLATES}
    assert sorted(keys() - every) == []


def test_translations_have_one_word_for_a_thing() -> None:
    """These are the others of GPU, ficha técnica, o Hugging Face, informe, no ar, repetível."""
    others = re.compile(
        r"\bplacas?\b|folha de dados|[aà] Hugging Face|\bdê\b|\bviv[oa]\b|ser repetid[oa]", re.IGNORECASE
    )
    found = [text for message in catalogue() if message.id for text in _texts(message.string) if others.search(text)]
    assert found == []


def test_every_entry_is_translated_with_the_same_placeholders() -> None:
    wrong = []
    for message in catalogue():
        if message.id:
            names = {tuple(sorted(placeholders(text))) for text in _texts(message.id)}
            translated = {tuple(sorted(placeholders(text))) for text in _texts(message.string)}
            wrong += [message.id] if message.fuzzy or not all(_texts(message.string)) or names != translated else []
    assert wrong == []
    assert not catalogue().obsolete
