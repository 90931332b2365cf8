"""Lines that a person types: edited, remembered from one run to the next, and pasted whole."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from ...language import say
from ...settings import APP_NAME
from .slash_commands import named
from .terminal_output import TerminalOutput

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = ">> "


def history_file() -> Path:
    """Where questions are remembered, for their user alone."""
    return platformdirs.user_state_path(APP_NAME) / "chat-history"


class Editor:
    """The lines, until Ctrl-D. Both ends of the terminal are ours: stdin and stdout."""

    def __init__(self, screen: TerminalOutput) -> None:
        self._screen = screen

    def __iter__(self) -> Iterator[str]:
        """Ask for one line after the other. Ctrl-C clears what is typed, and on an empty line says how to leave."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.formatted_text import FormattedText

        session: PromptSession[str] = PromptSession(
            FormattedText([("bold", PROMPT)]),
            history=self._history(history_file()),
            key_bindings=_keys(),
            prompt_continuation=FormattedText([("", " " * len(PROMPT))]),
            enable_suspend=True,
        )
        while True:
            try:
                yield session.prompt()
            except EOFError:
                return
            except KeyboardInterrupt:
                self._screen.note(say("Ctrl-D or {command} leaves.", command=named("exit")))

    def _history(self, file: Path) -> "History":
        from prompt_toolkit.history import FileHistory, InMemoryHistory

        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Before anything is written, also where an earlier umask had left it open.
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            file.chmod(0o600)
        except OSError as error:
            reason = error.strerror
            told = say("Questions are not remembered: {file} cannot be written ({reason}).", file=file, reason=reason)
            self._screen.note(told)
            return InMemoryHistory()
        return FileHistory(file)


def _keys() -> "KeyBindings":
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("c-c")
    def clear(event: "KeyPressEvent") -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    @keys.add("escape", "enter")
    def new_line(event: "KeyPressEvent") -> None:
        event.current_buffer.insert_text("\n")

    return keys
