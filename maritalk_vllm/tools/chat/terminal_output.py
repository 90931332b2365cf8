"""What a chat writes: answers to stdout, all else that people should know to stderr."""

import os
import re
from typing import TextIO

# Whatever could move the cursor or change the terminal, in an answer or in a server's sentence.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_BOLD, _DIM, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


class TerminalOutput:
    """Colours are for terminals alone, and not where NO_COLOR is set (https://no-color.org)."""

    def __init__(self, out: TextIO, notes: TextIO, *, labelled: bool) -> None:
        """`labelled`: a person reads, who is told what is an answer."""
        self._out = out
        self._notes = notes
        self._labelled = labelled
        self._in_line = False

    def begin(self) -> None:
        """An answer comes."""
        if self._labelled:
            self._put(self._out, self._styled(self._out, "MariTalk: ", _BOLD))
        self._in_line = True

    def piece(self, text: str) -> None:
        """The next of an answer's text."""
        if text:
            self._put(self._out, self._harmless(self._out, text))
            self._in_line = not text.endswith("\n")

    def end(self) -> None:
        """The answer is over, however it ended."""
        if self._in_line:
            self._put(self._out, "\n")
            self._in_line = False

    def show(self, text: str) -> None:
        """What a command was asked for: to those who read answers alone, it is none."""
        self.end()
        stream = self._out if self._labelled else self._notes
        self._put(stream, self._harmless(stream, text) + "\n")

    def note(self, sentence: str) -> None:
        """What people should know."""
        self._tell(sentence, _DIM)

    def error(self, sentence: str) -> None:
        """What went wrong."""
        self._tell(sentence, _RED)

    def _tell(self, sentence: str, style: str) -> None:
        self.end()
        self._put(self._notes, self._styled(self._notes, self._harmless(self._notes, sentence), style) + "\n")

    def _put(self, stream: TextIO, text: str) -> None:
        stream.write(text)
        stream.flush()

    def _harmless(self, stream: TextIO, text: str) -> str:
        return _CONTROLS.sub("\ufffd", text) if stream.isatty() else text

    def _styled(self, stream: TextIO, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if is_coloured(stream) else text


def is_coloured(stream: TextIO) -> bool:
    """Whether colours may be written there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
