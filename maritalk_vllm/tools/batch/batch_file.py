"""Check of a batch's input file before it is uploaded: its size, and the form of each line."""

import codecs
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...batches.input_limits import MAX_FILE_BYTES, MAX_LINES
from ...errors import UsageError
from ...i18n.message import Message, Number, msg

_KEYS = ("custom_id", "method", "url", "body")
_MAX_QUOTED = 80
"""Characters of a value that an error repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFile:
    """A file that has been checked, and the endpoint that its requests are for."""

    path: Path
    size_bytes: int
    endpoint: str
    requests: int


class _LineError(Exception):
    """The problem of a line: a message without the line's number."""

    def __init__(self, problem: Message) -> None:
        super().__init__(problem)
        self.problem = problem


def check(path: Path, endpoint: str | None = None) -> BatchFile:
    """Read the file line by line; blank lines do not count. Without `endpoint`, all have to have that of the first.

    Raises UsageError, with the line's number, for a file that no server would accept.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(
                    msg("{file} is read twice, as a pipe cannot be.", file=path), "Write the requests to a file."
                )
            size = status.st_size
            if size > MAX_FILE_BYTES:
                raise _too_large(path, size)
            lines: dict[str, int] = {}
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if not line.strip():
                    continue
                if len(lines) == MAX_LINES:
                    raise _too_many(path)
                try:
                    request = _request(line)
                    endpoint = endpoint or request["url"]
                    _check(request, endpoint, lines)
                except _LineError as error:
                    raise UsageError(
                        msg("{file}, line {line}: {problem}", file=path, line=number, problem=error.problem), _FORM
                    ) from None
                lines[request["custom_id"]] = number
    except OSError as error:
        raise unreadable(path, error) from error
    if endpoint is None or not lines:
        raise UsageError(msg("{file} has no request.", file=path), _FORM)
    return BatchFile(path=path, size_bytes=size, endpoint=endpoint, requests=len(lines))


def unreadable(path: Path, error: OSError) -> UsageError:
    """The error for a file that cannot be read."""
    return UsageError(msg("{target} cannot be read: {reason}.", target=path, reason=error.strerror))


_FORM = 'Write each line as {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {...}}.'


def _request(line: bytes) -> dict[str, Any]:
    """The JSON object of a line, with all keys. Raises _LineError."""
    try:
        request = json.loads(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise _LineError(msg("byte {number} is no text in UTF-8.", number=error.start + 1)) from None
    except json.JSONDecodeError as error:
        raise _LineError(msg("no JSON from column {column} on.", column=error.pos + 1)) from None
    except (ValueError, RecursionError):  # a number with too many digits, or lists within lists
        raise _LineError(msg("JSON that cannot be read.")) from None
    if not isinstance(request, dict):
        raise _LineError(msg("no JSON object."))
    for key in _KEYS:
        if key not in request:
            raise _LineError(msg("the key {key} is missing.", key=key))
    return request


def _check(request: dict[str, Any], endpoint: str, lines: dict[str, int]) -> None:
    """Check the values of a request; `lines` has the line of each custom_id before it. Raises _LineError."""
    custom_id, url = request["custom_id"], request["url"]
    for key in ("custom_id", "url"):
        if not isinstance(request[key], str) or not request[key]:
            raise _LineError(msg("{key} is no text, or an empty one.", key=key))
    if str(request["method"]).upper() != "POST":
        raise _LineError(msg("method is {value}, and not POST.", value=_quoted(request["method"])))
    if url != endpoint:
        raise _LineError(msg("url is {value}, and not {endpoint}.", value=_quoted(url), endpoint=endpoint))
    if not isinstance(request["body"], dict):
        raise _LineError(msg("body is no JSON object."))
    if custom_id in lines:
        raise _LineError(
            msg("custom_id {value} is that of line {line} as well.", value=_quoted(custom_id), line=lines[custom_id])
        )


def _quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."


def _too_large(path: Path, size: int) -> UsageError:
    return UsageError(
        msg(
            "{file} has {size} MB: a batch takes at most {most} MB.",
            file=path,
            size=Number(size / 1e6, ".1f"),
            most=MAX_FILE_BYTES // 10**6,
        ),
        "Make several batches of it.",
    )


def _too_many(path: Path) -> UsageError:
    return UsageError(
        msg("{file} has more than {most} requests, which is the most of a batch.", file=path, most=Number(MAX_LINES)),
        "Make several batches of it.",
    )
