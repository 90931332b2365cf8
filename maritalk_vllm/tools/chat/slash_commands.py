"""Commands of the chat, such as `/clear`; each has a Portuguese and an English name."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...i18n.language import Language, selected
from ...i18n.rendering import say
from ...text_format import did_you_mean, table
from .sampling_parameters import PARAMETERS, assignments
from .session import Session

PREFIX = "/"
"""Prefix of a command. Doubled, it starts a question that begins with a slash."""


class ExitChat(Exception):
    """Raised by the command that ends the chat."""


@dataclass(frozen=True, slots=True)
class Command:
    """`argument` and `about` are its help texts; `run` gets the argument, and may raise UsageError.

    `others` are names of it in other programs.
    """

    portuguese: str
    english: str
    argument: Callable[[], str]
    about: Callable[[], str]
    run: Callable[[Session, str], None]
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in the selected language."""
        return PREFIX + (self.portuguese if selected() is Language.PORTUGUESE else self.english)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the one in the selected language first."""
        both = sorted((PREFIX + self.portuguese, PREFIX + self.english), key=lambda name: name != self.name)
        return (*both, *(PREFIX + other for other in self.others))


def run_command(session: Session, line: str) -> None:
    """Run a line that begins with the prefix. Raises UsageError, and ExitChat for `/exit`."""
    word, _, rest = line.strip().partition(" ")
    command = _BY_NAME.get(_unaccented(word))
    if command is None:
        message = say("There is no command {word}.", word=word)
        raise UsageError(message, did_you_mean(_unaccented(word), [name for each in COMMANDS for name in each.names]))
    command.run(session, rest.strip())


def completions(text: str) -> list[str]:
    """Completions of the last word of a line: a command, in the selected language if one fits, or a parameter."""
    first, space, _ = text.partition(" ")
    if not space:
        word = _unaccented(first)
        own = [each.name for each in COMMANDS if each.name.startswith(word)]
        return (own or [name for name in _BY_NAME if name.startswith(word)]) if word.startswith(PREFIX) else []
    if _BY_NAME.get(_unaccented(first)) is _BY_NAME[command_name("parameters")]:
        return [f"{name}=" for name in PARAMETERS if name.startswith(text.rpartition(" ")[2])]
    return []


def command_name(english: str) -> str:
    """A command's name in the selected language, for use in a sentence."""
    return _BY_NAME[PREFIX + english].name


def _unaccented(word: str) -> str:
    """`/Parâmetros` is `/parametros`."""
    return "".join(each for each in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(each))


def _help(session: Session, _: str) -> None:
    rows = [(f"{', '.join(each.names)} {each.argument()}", each.about()) for each in COMMANDS]
    rows += [
        ("Ctrl-C", say("Stop the answer, or clear the line.")),
        ("Ctrl-D", say("Leave.")),
        ("Alt-Enter", say("Begin a new line of the question.")),
        (2 * PREFIX + "...", say("A question that begins with /.")),
    ]
    session.screen.show("\n".join(table(rows)))


def _clear(session: Session, _: str) -> None:
    session.conversation.clear()
    session.last_answer = None
    session.screen.note(say("A new conversation starts."))


def _system(session: Session, text: str) -> None:
    conversation, command = session.conversation, command_name("system")
    if not text:
        empty = say("There is no system message. {command} TEXT sets one.", command=command)
        session.screen.show(conversation.system or empty)
        return
    conversation.system = "" if text == "-" else text
    if conversation.system:
        session.screen.note(say("The system message is set; {command} - removes it.", command=command))
    else:
        session.screen.note(say("The system message is removed."))


def _save(session: Session, file: str) -> None:
    if not file:
        raise UsageError(say("There is no file named."), say("Write {command} FILE.", command=command_name("save")))
    message = session.transcript.write(
        Path(file), session.conversation, session.parameters.fields, session.client.answer_name
    )
    session.screen.note(message)


def _parameters(session: Session, text: str) -> None:
    given = assignments(text)
    session.parameters.change(given)
    changed = {assignment.partition("=")[0] for assignment in given}
    lines = [line for line in session.parameters.lines() if not changed or line[0] in changed]
    session.screen.show("\n".join(table(lines)))


def _times(session: Session, _: str) -> None:
    session.shows_times = not session.shows_times
    if session.last_answer is not None:
        session.screen.show(session.last_answer.times())
    if session.shows_times:
        session.screen.note(say("Each answer is followed by its times from now on."))
    else:
        session.screen.note(say("Answers are shown without timings from now on."))


def _exit(session: Session, _: str) -> None:
    raise ExitChat


def _no_argument() -> str:
    return ""


COMMANDS = (
    Command("ajuda", "help", _no_argument, lambda: say("Show the commands."), _help, ("?",)),
    Command("limpar", "clear", _no_argument, lambda: say("Start a new conversation."), _clear),
    Command("sistema", "system", lambda: say("TEXT"), lambda: say("Set the system message, or show it."), _system),
    Command("salvar", "save", lambda: say("FILE"), lambda: say("Write the conversation to a file."), _save),
    Command(
        "parametros",
        "parameters",
        lambda: say("NAME=VALUE"),
        lambda: say("Show the parameters, or change some."),
        _parameters,
    ),
    Command("tempos", "times", _no_argument, lambda: say("Show the times of answers, or no more."), _times),
    Command("sair", "exit", _no_argument, lambda: say("Leave."), _exit, ("quit", "bye")),
)
"""In the order of `/help`."""

_BY_NAME = {name: command for command in COMMANDS for name in command.names}
