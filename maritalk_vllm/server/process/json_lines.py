"""The log as JSON: one object a line, also of what libraries print."""

import json
import re
import time
from datetime import datetime

import msgspec

from ...engine.startup_errors import PRINTED

_MAX_LINE_BYTES = 1 << 16
_MAX_RECORD_BYTES = 1 << 20
"""A longer line, or a longer object, that has not ended is passed on in parts."""

_RECORD = b'{"asctime": "'
"""The beginning of each record of Python's logging."""

_TIME = re.compile(rb'\{"asctime": "(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d),(\d{3})"')
"""The beginning of a line of Python's logging, in every process: a time without a zone."""


class JsonLines:
    """Converts what processes write: objects get a time with a zone, other lines become objects, and empty ones go.

    A progress bar's line ends where it returns to the line's beginning.
    """

    def __init__(self) -> None:
        self._rest = b""

    def convert(self, data: bytes) -> bytes:
        """The whole lines of `data`; the beginning of another one is kept for the next call."""
        *lines, self._rest = (self._rest + data.replace(b"\r", b"\n")).split(b"\n")
        if len(self._rest) > (_MAX_RECORD_BYTES if self._rest.startswith(b'{"') else _MAX_LINE_BYTES):
            lines.append(self._rest)
            self._rest = b""
        return b"".join(map(_converted, lines))

    def end(self) -> bytes:
        """What is left: a line without an end."""
        return self.convert(b"\n")


def _is_object(line: bytes) -> bool:
    if not (line.startswith(b'{"') and line.endswith(b"}")):
        return False
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except msgspec.DecodeError:
        return False


def _converted(line: bytes) -> bytes:
    if (start := line.find(_RECORD)) > 0:  # after a progress bar, whose line has not ended
        return _converted(line[:start]) + _converted(line[start:])
    if _is_object(line):
        zone = time.strftime("%z").encode()
        return _TIME.sub(rb'{"asctime": "\1T\2.\3' + zone[:3] + b":" + zone[3:] + b'"', line, count=1) + b"\n"
    text = line.decode(errors="replace").rstrip()
    if not text.strip():
        return b""
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    record = {"asctime": now, "levelname": "INFO", "name": PRINTED, "process": None, "message": text}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"
