"""The standard streams: reopened if the parent closed them, and flushed at exit without a traceback."""

import contextlib
import errno
import os
import sys
from typing import Literal, TextIO

_DESCRIPTORS = (0, 1, 2)
_WRITE_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT}


def open_missing() -> None:
    """Open /dev/null for each closed stream. Call it first, since the next opened file would get its descriptor.

    A socket with the descriptor of stdin would be lost in each child process, whose stdin is replaced.
    """
    for descriptor in _DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            # open() returns the lowest free descriptor, which is this one: those below are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python sets a stream to None if it was closed at startup.
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def write_utf8(stream: TextIO) -> None:
    """Make a stream write UTF-8 in every locale: clients decode the output as UTF-8."""
    stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[attr-defined]


def note(text: str) -> None:
    """Print a line to stderr, and ignore a closed stderr."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def finish(stream: TextIO) -> OSError | None:
    """Flush a stream; return the error if that fails, after which the stream is redirected to /dev/null.

    Python would flush again at exit, report the failure on stderr, and exit with 120 instead of the command's code.
    """
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # no descriptor is left: Python then reports the failure at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def is_write_error(error: OSError) -> bool:
    """Whether a failed write to a stream raised this error: unlike an error of open(), it has no file name."""
    return error.filename is None and error.errno in _WRITE_ERRORS


def _stream(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    return open(descriptor, mode, encoding="utf-8", errors="replace", closefd=False)
