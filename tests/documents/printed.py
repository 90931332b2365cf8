"""What a command printed, held against what a page shows of it."""

import re

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_KEY = re.compile(r"\b[A-Z0-9]{5}(?:(?:-[A-Z0-9]{5}){3}\b|-\.\.\.)")
_REST = "...\n"


def same(printed: str, shown: str, *, exact: bool) -> bool:
    """Whether they are the same, where a line `...` stands for any number of lines.

    What is not `exact` has numbers, times, keys and widths of its own on each machine: those are not compared.
    """
    if not exact:
        printed, shown = _usual(printed), _usual(shown)
    pattern = "".join(r"(?:.*\n)*?" if line == _REST else re.escape(line) for line in shown.splitlines(keepends=True))
    return re.fullmatch(pattern, _stripped(printed)) is not None


def _stripped(text: str) -> str:
    """Without spaces at the ends of lines and empty lines at the end, which no page has."""
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())


def _usual(text: str) -> str:
    text = _NUMBER.sub("N", _KEY.sub("K", text))
    return "".join(" ".join(line.split()) + "\n" for line in text.splitlines())
