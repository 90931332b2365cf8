"""The lines of an input file, each a request: how they are read, without the whole file in memory."""

import codecs
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..api.openai_adapter import normalize_path

MAX_LINE_BYTES = 16_000_000
"""Maximum length of a line, which is the default limit of a request's body (`--max-body-mb`)."""


class InputLine(msgspec.Struct):
    """One request of a batch. The body is sent as it was written."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


def raw_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number, counted from 1, and the text of each line that is not blank.

    A line that is too long is cut after MAX_LINE_BYTES + 1 bytes, and the last that is yielded.
    """
    number = 0
    with file.open("rb") as content:
        while line := content.readline(MAX_LINE_BYTES + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield number, line
            if len(line) > MAX_LINE_BYTES:
                return


def input_lines(file: Path) -> Iterator[tuple[int, InputLine]]:
    """Yield the index, counted from 0, and the request of each line of a valid input file."""
    decoder = msgspec.json.Decoder(InputLine)
    for index, (_, line) in enumerate(raw_lines(file)):
        yield index, decoder.decode(line)


def endpoint_of(url: str) -> str:
    """The route of a URL: `/v1/...` for Maritaca's `/api/...`."""
    return str(normalize_path(url).get("path", url))
