"""A page in Portuguese says what its original says, in the same order."""

import ast
import shlex

import pytest

from tests.documents.pages import ROOT, TRANSLATIONS, blocks, headings, links, read, steps, tables

PAIRS = list(TRANSLATIONS.items())


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_the_same_parts(original: str, translation: str) -> None:
    assert headings(original) == headings(translation)
    assert tables(original) == tables(translation)


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_the_same_commands(original: str, translation: str) -> None:
    """Comments are left out, and what is printed stays in the words of the program."""

    def words(page: str) -> list[tuple[list[str], str | None]]:
        return [(shlex.split(step.command), step.output) for step in steps(page)]

    assert words(original) == words(translation)


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_the_same_blocks(original: str, translation: str) -> None:
    pairs = zip(blocks(original), blocks(translation), strict=True)
    for one, other in pairs:
        assert one.language == other.language
        if one.language == "python":
            assert ast.dump(ast.parse(one.text)) == ast.dump(ast.parse(other.text))
        elif one.language not in ("bash", "sh"):
            assert one.text == other.text


@pytest.mark.parametrize(("original", "translation"), PAIRS)
def test_each_leads_to_the_other(original: str, translation: str) -> None:
    for page, other in ((original, translation), (translation, original)):
        beginning = "".join(read(page).splitlines(keepends=True)[:4])
        assert f"]({(ROOT / other).name})" in beginning
        assert (ROOT / other).name in links(page)
