"""A page in Portuguese has the same structure, commands and blocks as its original, and the output of our commands."""

import ast
import re
import shlex

import pytest

from tests.documents.pages import (
    PORTUGUESE,
    ROOT,
    TRANSLATIONS,
    blocks,
    headings,
    is_ours,
    links,
    passages,
    read,
    steps,
    tables,
)

PAIRS = list(TRANSLATIONS.items())


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_a_translation_has_the_same_headings_and_tables(original: str, translation: str) -> None:
    assert headings(original) == headings(translation)
    assert tables(original) == tables(translation)


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_a_translation_has_the_same_commands(original: str, translation: str) -> None:
    """Without comments and the prompts of `read`. test_commands.py compares our own output with what is printed."""

    def words(page: str) -> list[tuple[list[str], str | None]]:
        return [
            (shlex.split(_without_prompt(step.command)), "..." if step.output and is_ours(step) else step.output)
            for step in steps(page)
        ]

    assert words(original) == words(translation)


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_a_translation_has_the_same_blocks(original: str, translation: str) -> None:
    pairs = zip(blocks(original), blocks(translation), strict=True)
    for one, other in pairs:
        assert one.language == other.language
        if one.language == "python":
            assert ast.dump(ast.parse(one.text)) == ast.dump(ast.parse(other.text))
        elif one.language == "mermaid":
            assert _without_labels(one.text) == _without_labels(other.text)
        elif not one.language:  # output of programs that the tests do not start like this
            assert len(one.text.splitlines()) == len(other.text.splitlines())
        elif one.language not in ("bash", "console", "sh"):  # those are commands
            assert one.text == other.text


def _without_prompt(command: str) -> str:
    return re.sub(r'^(read -rs -p) "[^"]+"', r'\1 ""', command)


def _without_labels(diagram: str) -> str:
    return re.sub(r'"[^"]+"', '""', diagram)


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_original_and_translation_link_to_each_other(original: str, translation: str) -> None:
    for page, other in ((original, translation), (translation, original)):
        beginning = "".join(read(page).splitlines(keepends=True)[:4])
        assert f"]({(ROOT / other).name})" in beginning
        assert (ROOT / other).name in links(page)


@pytest.mark.parametrize("page", PORTUGUESE)
def test_a_passage_in_portuguese_says_which_pages_are_in_english(page: str) -> None:
    """Its link to another language, `[English](...)`, and a part with that heading say so themselves."""
    names = {(ROOT / each).name for each in PORTUGUESE}
    heading = ""
    for passage in passages(page):
        if passage.startswith("#"):
            heading = passage
        english = [
            (text, target)
            for text, target in re.findall(r"\[([^\]]*)\]\(([\w./-]+\.md)[^)]*\)", passage)
            if target.rpartition("/")[2] not in names and text != "English"
        ]
        assert not english or heading == "## Em inglês" or re.search("em\\s+inglês", passage), passage
