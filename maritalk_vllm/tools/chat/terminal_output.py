"""Output of a chat: answers to stdout, notes and errors to stderr."""

import os
import re
import shutil
from typing import TextIO

from .word_wrap import WordWrap

# Control characters that could move the cursor or change the terminal, in an answer or in a server's message.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_BOLD, _DIM, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


class TerminalOutput:
    """Writes answers and notes; with colours only on a terminal and without NO_COLOR (https://no-color.org)."""

    def __init__(self, out: TextIO, notes: TextIO, *, labelled: bool) -> None:
        """`labelled`: prefix answers with `label`, for interactive use."""
        self._out = out
        self._notes = notes
        self._labelled = labelled
        self.label = "MariTalk"
        """The name before each answer."""
        self._in_line = False
        self._wrap: WordWrap | None = None

    def begin(self) -> None:
        """Start an answer."""
        label = self._sanitized(self._out, f"{self.label}: ") if self._labelled else ""
        if label:
            self._write(self._out, self._styled(self._out, label, _BOLD))
        if self._out.isatty() and os.environ.get("TERM") != "dumb":
            self._wrap = WordWrap(lambda: shutil.get_terminal_size().columns, len(label))
        self._in_line = True

    def piece(self, text: str) -> None:
        """Write the next piece of an answer; on a terminal, with line breaks between words."""
        if text:
            shown = self._sanitized(self._out, text)
            self._write(self._out, self._wrap.wrapped(shown) if self._wrap else shown)
            self._in_line = not text.endswith("\n")

    def end(self) -> None:
        """End an answer, complete or not."""
        if self._in_line:
            self._write(self._out, "\n")
            self._in_line = False

    def show(self, text: str) -> None:
        """Write a command's output: to stdout if interactive, else to stderr, since stdout is for answers."""
        self.end()
        stream = self._out if self._labelled else self._notes
        self._write(stream, self._sanitized(stream, text) + "\n")

    def note(self, sentence: str) -> None:
        """Write a note to stderr."""
        self._write_note(sentence, _DIM)

    def error(self, sentence: str) -> None:
        """Write an error to stderr."""
        self._write_note(sentence, _RED)

    def _write_note(self, sentence: str, style: str) -> None:
        self.end()
        self._write(self._notes, self._styled(self._notes, self._sanitized(self._notes, sentence), style) + "\n")

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(text)
        stream.flush()

    def _sanitized(self, stream: TextIO, text: str) -> str:
        return _CONTROLS.sub("\ufffd", text) if stream.isatty() else text

    def _styled(self, stream: TextIO, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if is_coloured(stream) else text


def is_coloured(stream: TextIO) -> bool:
    """Whether colours may be written to this stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
