"""Runs a chat on this process's stdin and stdout."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ... import extras
from ...i18n.rendering import say
from ..server_address import ServerAddress
from .chat_client import ChatClient
from .chat_loop import Chat
from .conversation import Conversation
from .line_editor import PROMPT, Editor
from .sampling_parameters import assignments
from .session import Session
from .slash_commands import command_name
from .terminal_output import TerminalOutput


def run(address: ServerAddress, *, system: str = "", parameters: str = "", single_question: bool = False) -> bool:
    """Chat until the end of the input. Returns whether every question was answered and every command succeeded.

    A terminal gets a line editor. From a pipe each line is a question, or with `single_question` the whole input is
    one, and stdout has only the answers. `parameters` is written as after the command `/parameters`. SIGTERM restores
    the terminal. Raises UsageError for an invalid address or parameter, and at a terminal without the package that the
    editor needs, and there also Unavailable if no server answers.
    """
    if sys.stdin is not None:
        # UTF-8 like the output, in any locale; an invalid byte must not end the chat.
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    interactive = sys.stdin is not None and sys.stdin.isatty() and not single_question
    if interactive and sys.stdout.isatty():
        extras.require("prompt_toolkit", "maritalk-vllm chat")
    screen = TerminalOutput(sys.stdout, sys.stderr, labelled=interactive)
    with _exit_on_sigterm(), ChatClient(address) as client:
        if interactive:
            client.check_reachable()
        session = Session(client=client, screen=screen, conversation=Conversation(system))
        session.parameters.change(assignments(parameters))
        chat = Chat(session, interactive=interactive)
        try:
            if single_question:
                question = "\n".join(_input_lines()).strip()
                return not question or chat.ask(question)
            return chat.run(_lines(screen, client) if interactive else _input_lines())
        except BrokenPipeError:
            # The reader of stdout has exited: discard the final flush, so that Python prints no error for it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return False


def _lines(screen: TerminalOutput, client: ChatClient) -> Iterator[str]:
    model = client.model_name()
    screen.note(say("{model} at {url}", model=model, url=client.url) if model else client.url)
    screen.note(say("{help} shows the commands, Ctrl-D leaves.", help=command_name("help")))
    if sys.stdout.isatty():
        yield from Editor(screen)
        return
    # stdout is not a terminal: read lines without the editor, so that stdout gets no control codes.
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


def _input_lines() -> Iterator[str]:
    for line in sys.stdin or ():
        yield line.removesuffix("\n")


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that open contexts are closed; the line editor's restores the terminal."""

    def exit_process(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, exit_process)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
