"""Compare a command's output with the output that a page shows."""

import re

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_KEY = re.compile(r"\b[A-Z0-9]{5}(?:(?:-[A-Z0-9]{5}){3}\b|-\.\.\.)")
_REST = "...\n"


def same(printed: str, shown: str, *, exact: bool) -> bool:
    """Whether both are the same; a line `...` matches any number of lines.

    Without `exact`, numbers, times, keys and column widths, which differ between machines, are not compared.
    """
    if not exact:
        printed, shown = _usual(printed), _usual(shown)
    pattern = "".join(r"(?:.*\n)*?" if line == _REST else re.escape(line) for line in shown.splitlines(keepends=True))
    return re.fullmatch(pattern, _stripped(printed)) is not None


def _stripped(text: str) -> str:
    """Remove trailing spaces and trailing empty lines, which no page has."""
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())


def _usual(text: str) -> str:
    text = _NUMBER.sub("N", _KEY.sub("K", text))
    return "".join(" ".join(line.split()) + "\n" for line in text.splitlines())
