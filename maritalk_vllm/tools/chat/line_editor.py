"""Line editor with a persistent history, multi-line paste, and completion of commands."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from ...i18n.rendering import say
from ...settings import APP_NAME
from .slash_commands import command_name, completions
from .terminal_output import TerminalOutput

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = ">> "


def history_file() -> Path:
    """File of the question history, readable only by its owner."""
    return platformdirs.user_state_path(APP_NAME) / "chat-history"


class Editor:
    """Iterates over the lines typed, until Ctrl-D. Needs a terminal at stdin and stdout."""

    def __init__(self, screen: TerminalOutput) -> None:
        self._screen = screen

    def __iter__(self) -> Iterator[str]:
        """Prompt for one line after the other. Ctrl-C clears the line, and on an empty one prints how to exit."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.formatted_text import FormattedText

        session: PromptSession[str] = PromptSession(
            FormattedText([("bold", PROMPT)]),
            history=self._history(history_file()),
            key_bindings=_keys(),
            completer=_completer(),
            complete_while_typing=False,
            prompt_continuation=FormattedText([("", " " * len(PROMPT))]),
            enable_suspend=True,
        )
        while True:
            try:
                yield session.prompt()
            except EOFError:
                return
            except KeyboardInterrupt:
                self._screen.note(say("Ctrl-D or {command} leaves.", command=command_name("exit")))

    def _history(self, file: Path) -> "History":
        from prompt_toolkit.history import FileHistory, InMemoryHistory

        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Before anything is written, and also for an existing file with a wider mode.
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            file.chmod(0o600)
        except OSError as error:
            reason = error.strerror
            message = say(
                "Questions are not remembered: {file} cannot be written ({reason}).", file=file, reason=reason
            )
            self._screen.note(message)
            return InMemoryHistory()
        return FileHistory(file)


def _completer() -> "Completer":
    from prompt_toolkit.completion import Completer, Completion

    class Commands(Completer):
        """Completes with Tab what begins like a command; Tab does nothing in a question."""

        def get_completions(self, document: "Document", complete_event: "CompleteEvent") -> "Iterable[Completion]":
            text = document.text_before_cursor
            word = text.rpartition(" ")[2]
            return (Completion(each, start_position=-len(word)) for each in completions(text))

    return Commands()


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
