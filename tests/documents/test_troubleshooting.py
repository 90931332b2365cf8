"""The troubleshooting page quotes messages that the code has."""

import ast
import functools
import re

import pytest

from tests.documents.pages import read
from tests.sentences import PACKAGE, normal, strings

PAGE = "docs/troubleshooting.md"


def quoted() -> list[str]:
    """The messages on the page: what is in quotation marks in the first cell of a row."""
    cells = re.findall(r"^\| ([^|]+) \|", read(PAGE), re.MULTILINE)
    return [match[1] for cell in cells if (match := re.search(r'"(.+)"', cell))]


@functools.cache
def templates() -> list[re.Pattern[str]]:
    """Every text of the code with two words in a row, with `.*` for each placeholder."""
    found = (text for file in PACKAGE.rglob("*.py") for _, text in strings(ast.parse(file.read_text())))
    texts = {normal(text) for text in found if re.search(r"\w{3,} \w", text)}
    return [re.compile(re.escape(text).replace(r"\{\}", ".*")) for text in texts]


def is_in_the_code(message: str) -> bool:
    return any(template.fullmatch(message) for template in templates())


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    """As a whole, or sentence by sentence: a message and its hint are separate texts."""
    assert is_in_the_code(message) or all(is_in_the_code(part) for part in re.split(r"(?<=\.) ", message))


def test_another_message_is_not_in_the_code() -> None:
    assert not is_in_the_code("Port 9000 is used by another program.")


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 40
