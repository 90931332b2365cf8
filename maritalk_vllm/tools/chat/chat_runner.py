"""A chat at this process's own stdin and stdout, to its end."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ...language import say
from .chat_client import ChatClient
from .chat_loop import Chat
from .conversation import Conversation
from .line_editor import PROMPT, Editor
from .server_address import ServerAddress
from .session import Session
from .slash_commands import named
from .terminal_output import TerminalOutput


def run(address: ServerAddress, *, system: str = "", whole: bool = False) -> bool:
    """Chat until the end of the input; whether every question was answered, and every command done.

    On a terminal lines are edited. From a pipe each line is a question, or with `whole` all of it is one, and stdout
    has the answers alone. SIGTERM leaves the terminal as it was. Raises UsageError for an address that cannot be used.
    """
    if sys.stdin is not None:
        # As the answers are written, whatever the locale; a byte that is no text must not end the chat.
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    attended = sys.stdin is not None and sys.stdin.isatty() and not whole
    screen = TerminalOutput(sys.stdout, sys.stderr, labelled=attended)
    with _ended_by_signal(), ChatClient(address) as client:
        session = Session(client=client, screen=screen, conversation=Conversation(system))
        chat = Chat(session, attended=attended)
        try:
            if whole:
                question = "\n".join(_plain()).strip()
                return not question or chat.ask(question)
            return chat.run(_lines(screen) if attended else _plain())
        except BrokenPipeError:
            # Whoever read has gone. What is still to be flushed at the end goes nowhere, without a word.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False


def _lines(screen: TerminalOutput) -> Iterator[str]:
    screen.note(say("{help} shows the commands, Ctrl-D leaves.", help=named("help")))
    if sys.stdout.isatty():
        yield from Editor(screen)
        return
    # Nowhere to edit in: the terminal's own line is good enough, and stdout stays free of control codes.
    while True:
        sys.stderr.write(PROMPT)
        sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            screen.note("")
            continue
        if not line:
            screen.note("")
            return
        yield line.removesuffix("\n")


def _plain() -> Iterator[str]:
    for line in sys.stdin or ():
        yield line.removesuffix("\n")


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM unwinds all that is open, the line editor with its terminal among it."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
