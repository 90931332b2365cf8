"""The three standard streams: there even if the parent closed them, and written to the end without a traceback."""

import contextlib
import errno
import os
import sys
from typing import Literal, TextIO

_DESCRIPTORS = (0, 1, 2)
_OF_WRITING = {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT}


def open_missing() -> None:
    """Open /dev/null for each stream that is closed. Call it first: the next file to be opened would take the number.

    A socket that has the number of stdin is lost to each child process, whose stdin is something else.
    """
    for descriptor in _DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free, which is this one: those below are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has None for a stream that was closed when it began.
    sys.stdin = sys.stdin or _stream(0, "r")
    sys.stdout = sys.stdout or _stream(1, "w")
    sys.stderr = sys.stderr or _stream(2, "w")


def write_utf8(stream: TextIO) -> None:
    """Write UTF-8, whatever the locale: clients decode the output so."""
    stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[attr-defined]


def note(text: str) -> None:
    """Print a remark to stderr. Where nothing reads it, the command goes on."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def finish(stream: TextIO) -> OSError | None:
    """Write what is left in the stream; the error if that fails, after which the stream is silent.

    Python would try once more as it ends, say so on stderr, and end with 120 in place of the command's exit code.
    """
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def is_of_writing(error: OSError) -> bool:
    """Whether this is what a stream that takes no more raises: it has no name, as a file has that cannot be opened."""
    return error.filename is None and error.errno in _OF_WRITING


def _stream(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    return open(descriptor, mode, encoding="utf-8", errors="replace", closefd=False)
