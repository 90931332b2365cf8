"""Line breaks between the words of an answer that a terminal shows while it is written."""

import unicodedata
from collections.abc import Callable

_FENCE = "```"
_TAB_COLUMNS = 8


class WordWrap:
    """Adds line breaks to one answer, in pieces of any size.

    A piece is written at once. If a word turns out to be too long for its line, what was written of it is erased and
    written again on the next line. Code blocks, and words that are longer than a line, are left to the terminal.
    """

    def __init__(self, width: Callable[[], int], column: int = 0) -> None:
        """`width`: the columns of the terminal, which may change; `column`: where the answer begins."""
        self._width = width
        self._column = column
        self._line = ""
        self._word = ""
        self._is_code = False

    def wrapped(self, piece: str) -> str:
        """Return the next piece with line breaks, and with the control codes that erase the beginning of a word."""
        # The cursor stays at the last column after a character there, as if it were before it: that column stays free.
        last = self._width() - 1
        return "".join(self._character(character, last) for character in piece)

    def _character(self, character: str, last: int) -> str:
        if character == "\n":
            self._is_code ^= self._line.lstrip().startswith(_FENCE)
            self._column, self._line, self._word = 0, "", ""
            return character
        self._line += character
        columns = _columns(character) if character != "\t" else _TAB_COLUMNS - self._column % _TAB_COLUMNS
        if self._is_code or self._column + columns <= last:
            self._column += columns
            self._word = "" if character.isspace() else self._word + character
            return character
        if character.isspace():
            self._column, self._word = 0, ""
            return "\n"
        word = sum(map(_columns, self._word))
        if word == self._column:
            # The word has the whole line: it is broken here.
            self._column, self._word = columns, character
            return f"\n{character}"
        erased = f"\x1b[{word}D\x1b[K" if word else ""
        self._word += character
        self._column = word + columns
        return f"{erased}\n{self._word}"


def _columns(character: str) -> int:
    """The columns of a character on a terminal."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "FW" else 1
