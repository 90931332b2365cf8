"""Line breaks of an answer, seen on a small stand-in for a terminal."""

import random
import re

import pytest

from maritalk_vllm.tools.chat.word_wrap import WordWrap

WIDTH = 20
CODES = re.compile(r"\x1b\[(\d*)([DK])|(.|\n)", re.DOTALL)


def shown(output: str, width: int = WIDTH) -> list[str]:
    """The lines of a terminal that wraps by itself and knows the two codes that are used: left, erase to the end."""
    lines: list[list[str]] = [[]]
    column = 0
    for count, code, character in CODES.findall(output):
        if code == "D":
            column -= int(count)
            assert column >= 0
        elif code == "K":
            del lines[-1][column:]
        elif character == "\n" or column == width:
            lines.append([])
            column = 0
        if character and character != "\n":
            lines[-1].append(character)
            column += 1
    return ["".join(line).rstrip() for line in lines]


def wrapped(text: str, size: int, column: int = 0) -> list[str]:
    wrap = WordWrap(lambda: WIDTH, column)
    return shown("".join(wrap.wrapped(text[at : at + size]) for at in range(0, len(text), size)))


@pytest.mark.parametrize("size", [1, 3, 100])
def test_lines_break_between_words(size: int) -> None:
    text = "O modelo responde em linhas que não cortam palavras, com parágrafos.\n\nFim."
    assert wrapped(text, size) == [
        "O modelo responde",
        "em linhas que não",
        "cortam palavras,",
        "com parágrafos.",
        "",
        "Fim.",
    ]


def test_no_word_is_broken_and_none_is_lost() -> None:
    random_words = random.Random(1)
    for _ in range(100):
        words = ["x" * random_words.randint(1, WIDTH - 1) for _ in range(random_words.randint(1, 12))]
        lines = wrapped(" ".join(words), random_words.randint(1, 5))
        assert " ".join(" ".join(lines).split()) == " ".join(words)
        assert max(map(len, lines)) < WIDTH


def test_the_first_line_begins_after_the_label() -> None:
    label = len("MariTalk: ")
    wrap = WordWrap(lambda: WIDTH, label)
    assert shown("MariTalk: " + wrap.wrapped("palavras cortadas")) == ["MariTalk: palavras", "cortadas"]


def test_a_word_longer_than_a_line_is_whole() -> None:
    assert "".join(wrapped("a " + "b" * 50 + " c", 4)).replace(" ", "") == "a" + "b" * 50 + "c"


def test_code_is_left_to_the_terminal() -> None:
    code = "```python\nvalue = function(first, second)\n```\n"
    wrap = WordWrap(lambda: WIDTH)
    assert wrap.wrapped(code) == code
    assert wrapped(code + "e depois texto com quebras", 2)[-2:] == ["e depois texto com", "quebras"]


def test_wide_characters_take_two_columns() -> None:
    wrap = WordWrap(lambda: WIDTH)
    first, second = "日本語" * 3, "言葉"
    assert wrap.wrapped(f"{first} {second}") == f"{first} \n{second}"
