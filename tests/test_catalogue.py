"""The catalogue has a translation of every message that the commands print, and no other entries."""

import ast
import errno
import functools
import os
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_core import PydanticKnownError
from typer.main import get_command

from maritalk_vllm.cli import serve, tools_app
from maritalk_vllm.language import catalogue
from tests.sentences import PACKAGE, is_sentence, modules, normal, spelled, strings

NO_SENTENCE = {
    "what MariTalk Local prints as well, and programs look for": (
        r"Start using MariTalk Local API:.*|Starting MariTalk Local API \{\}\.\.\.|✓ Loaded in .*"
        r"|.*Warming up\.\.\.|.*Listening on \{\}"
    ),
    "what the log, or /docs, says": (
        r"\{\}\+\{\} tokens, queue .*|hung up|MariTalk on vLLM|In order again: \{\}\."
        r"|\{\} bytes of this log were lost: .*|The log cannot be written: its lines are lost\."
        r"|Configuration, API keys and certificate were read .*|The temporary folder was removed .*"
        r"|The model's files have changed .*"
        r"|Changes to these options .*"
        r"|A reload could not be .*|The supervisor's reload .*|A message of the server's own processes was lost: .*"
        r"|The supervisor cannot answer at the port: .*|The model's files cannot be looked at: .*"
        r"|The .* that (was|were) read before stays? .*|The file of API keys holds no key: .*"
        r"|No more connections can be accepted for now: .*|The node at %s is refused: %s"
        r"|The host at %s is no node: %s|What listens at %s is no node 0: %s"
        r"|The connection to the node at %s is closed: %s"
        r"|Dumping .*: %s(, )?|<\{\} (characters|entries)>"
    ),
    "what `systemctl status` says": r"Loading \{\}|Finishing what runs",
    "for developers": (
        r"\{\} is never followed by \{\}|pyproject\.toml names no \{\}|a plan for the CPU needs a host"
        r"|an event that is no object|presigned_url and model_size must be .*"
        r"|Expected `\w+`, got `\{\}`|Expected `\{\}`, got `\{\}`"
        r"|The message has \{\} descriptors, and not number \{\}"
    ),
    "found in what vLLM, or a library, says": (
        r".*\(\\d\+\).*|.* by \(SIGKILL\)|Free memory on device .*|.*available memory for the cache .*"
        r"|out of memory\\..*|initialization failed|root cause|start new thread|Value error|runtime started"
        r"|peer closed connection|Server disconnected"
    ),
    "a database's language": r"(SELECT|INSERT|UPDATE|BEGIN|PRAGMA) .*|BEGIN; .*|\{\} (WHERE|ORDER) .*",
    "a file, a header, a process's name": (
        r"#!/bin/sh.*|\{\}exec .*|Bearer \{\}|artifact=weights.*|maritalk: \w+|maritalk-(vllm|serve) (\w+|\{\})"
    ),
    "a part of a command line, a number's unit, or what is counted": (
        r"\[env var: \{\}\]|\[-- VLLM FLAGS\]|\{\} max_tokens=\{\}|\{\} ms|more day|API key"
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

SAME_IN_BOTH = {"cuda", "driver", "gpus", "id", "vllm"}
"""Words that are the same in Portuguese."""


def keys() -> set[str]:
    return set(map(normal, catalogue()))


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
        yield from (command.help or "").split("\n\n")
        for parameter in command.params:
            yield (parameter.help or "").partition("  [")[0]
            if isinstance(shown := getattr(parameter, "show_default", None), str):
                yield shown


def counted() -> Iterator[str]:
    """Singular and plural of each noun that is passed to `pluralize`."""
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "pluralize":
                noun = node.args[1]
                assert isinstance(noun, ast.Constant), ast.unparse(node)
                assert isinstance(noun.value, str), ast.unparse(node)
                yield from (f"{{}} {noun.value}", f"{{}} {noun.value}s")


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
    return {normal(text) for tree in modules().values() for _, text in strings(tree)}


@pytest.mark.parametrize("reason", NO_SENTENCE)
def test_each_exemption_matches_a_string(reason: str) -> None:
    assert any(re.fullmatch(NO_SENTENCE[reason], text) for text in said())


def test_every_sentence_in_the_code_has_an_entry() -> None:
    known, exempt = keys(), re.compile("|".join(f"(?:{each})" for each in NO_SENTENCE.values()))
    missing = [
        f"{place}:{line}: {text}"
        for place, tree in modules().items()
        for line, text in strings(tree)
        if is_sentence(text) and normal(text) not in known and not exempt.fullmatch(normal(text))
    ]
    assert missing == []


def test_every_error_message_has_an_entry() -> None:
    known = keys()
    assert [(place, text) for place, text in errors() if normal(text) not in known] == []


def test_every_help_text_has_an_entry() -> None:
    known = keys()
    assert [text for text in helps() if text and normal(text) not in known] == []


def test_single_words_that_are_translated_have_entries() -> None:
    """The names of checks, and what is translated word by word: table headings and cells."""
    words = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[: None if name == "_head" else 1]
                if name in ("_head", "translated", "ok", "warning", "problem", "tried", "run"):
                    words |= {text for each in first if (text := spelled(each)) is not None}
    assert {"licence", "expires", "never", "driver"} <= words
    alone = {word for word in words if re.search("[a-z]", word) and not is_sentence(word)}
    assert {word for word in alone if normal(word) not in keys()} == SAME_IN_BOTH


def test_every_counted_noun_has_singular_and_plural_entries() -> None:
    assert [text for text in counted() if text not in keys()] == []


def test_every_entry_occurs_in_the_code() -> None:
    ours = {normal(text) for file in PACKAGE.rglob("*.py") for _, text in strings(ast.parse(file.read_text()))}
    every = {*ours, *map(normal, (*helps(), *counted(), *of_others()))}
    assert [key for key in catalogue() if normal(key) not in every] == []


def test_both_languages_have_the_same_placeholders() -> None:
    def names(sentence: str) -> list[str]:
        return sorted(name for _, name, *_ in string.Formatter().parse(sentence) if name is not None)

    assert [english for english, said in catalogue().items() if names(english) != names(said)] == []


def test_no_entry_repeats_a_placeholder() -> None:
    """Translating a finished sentence would have to find the same value in both places."""
    for english in catalogue():
        names = [name for _, name, *_ in string.Formatter().parse(english) if name is not None]
        assert len(names) == len(set(names)), english
