"""Text formatting helpers for messages."""

import difflib
from collections.abc import Iterable, Sequence

from .i18n.message import Message, Number, msg
from .i18n.rendering import localized


def did_you_mean(word: str, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """A hint with the known word or alias closest to `word`, or else with all known words."""
    words = sorted(known)
    close = difflib.get_close_matches(word, [*words, *aliases], n=1)
    return msg("Did you mean {word}?", word=close[0]) if close else msg("Known: {words}.", words=", ".join(words))


def gigabytes(size: float) -> str:
    """`24.1 GB`, in units of 10^9 bytes, as GPU vendors and the MariTalk Local document use them."""
    return msg("{size} GB", size=Number(size / 1e9, ".1f"))


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines with aligned columns. Cells that are messages are rendered in the selected language."""
    cells = [[localized(cell) if isinstance(cell, Message) else cell for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
