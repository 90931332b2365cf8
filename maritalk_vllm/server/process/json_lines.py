"""The log as JSON: one object a line, also of what libraries print."""

import json
import re
import time
from datetime import datetime

from ...engine.startup_errors import PRINTED

_MAX_LINE_BYTES = 1 << 16
"""A longer line that has not ended is passed on in parts."""

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
        if len(self._rest) > _MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return b"".join(map(_converted, lines))

    def end(self) -> bytes:
        """What is left: a line without an end."""
        return self.convert(b"\n")


def _converted(line: bytes) -> bytes:
    if line.startswith(b'{"') and line.endswith(b"}"):
        zone = time.strftime("%z").encode()
        return _TIME.sub(rb'{"asctime": "\1T\2.\3' + zone[:3] + b":" + zone[3:] + b'"', line, count=1) + b"\n"
    text = line.decode(errors="replace").rstrip()
    if not text.strip():
        return b""
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    record = {"asctime": now, "levelname": "INFO", "name": PRINTED, "process": None, "message": text}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"
