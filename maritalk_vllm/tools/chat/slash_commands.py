"""The lines that are no questions: `/ajuda`, `/clear` and the others, each by its Portuguese and its English name."""

import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...language import Language, say, spoken
from ...text_format import did_you_mean, table
from .session import Session

SIGN = "/"
"""What a command begins with. Twice, it begins a question that begins with it."""


class Leave(Exception):
    """The chat is over, as was asked for."""


@dataclass(frozen=True, slots=True)
class Command:
    """`argument` is what it takes, as the help shows it; `run` is given that, and raises UsageError."""

    portuguese: str
    english: str
    argument: Callable[[], str]
    about: Callable[[], str]
    run: Callable[[Session, str], None]

    @property
    def name(self) -> str:
        """In the language chosen."""
        return SIGN + (self.portuguese if spoken() is Language.PORTUGUESE else self.english)

    @property
    def names(self) -> tuple[str, str]:
        """Both, that of the language chosen first."""
        first, second = SIGN + self.portuguese, SIGN + self.english
        return (first, second) if self.name == first else (second, first)


def obey(session: Session, line: str) -> None:
    """Do what a line says that begins with the sign. Raises UsageError, and Leave where that was asked for."""
    word, _, rest = line.strip().partition(" ")
    command = _BY_NAME.get(_unaccented(word))
    if command is None:
        told = say("There is no command {word}.", word=word)
        raise UsageError(told, did_you_mean(_unaccented(word), [name for each in COMMANDS for name in each.names]))
    command.run(session, rest.strip())


def named(english: str) -> str:
    """A command's name in the language chosen, for a sentence."""
    return _BY_NAME[SIGN + english].name


def _unaccented(word: str) -> str:
    """`/Parâmetros` is `/parametros`."""
    return "".join(each for each in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(each))


def _help(session: Session, _: str) -> None:
    rows = [(f"{', '.join(each.names)} {each.argument()}", each.about()) for each in COMMANDS]
    rows += [
        ("Ctrl-C", say("Stop the answer, or clear the line.")),
        ("Ctrl-D", say("Leave.")),
        ("Alt-Enter", say("Begin a new line of the question.")),
        (2 * SIGN + "...", say("A question that begins with /.")),
    ]
    session.screen.show("\n".join(table(rows)))


def _clear(session: Session, _: str) -> None:
    session.conversation.clear()
    session.last = None
    session.screen.note(say("The conversation begins anew."))


def _system(session: Session, text: str) -> None:
    conversation, command = session.conversation, named("system")
    if not text:
        none = say("There is no system message. {command} TEXT sets one.", command=command)
        session.screen.show(conversation.system or none)
        return
    conversation.system = "" if text == "-" else text
    if conversation.system:
        session.screen.note(say("The system message is set; {command} - removes it.", command=command))
    else:
        session.screen.note(say("The system message is removed."))


def _save(session: Session, file: str) -> None:
    if not file:
        raise UsageError(say("There is no file named."), say("Write {command} FILE.", command=named("save")))
    told = session.record.write(Path(file), session.conversation, session.parameters.fields)
    session.screen.note(told)


def _parameters(session: Session, text: str) -> None:
    try:
        assignments = shlex.split(text)
    except ValueError as error:
        raise UsageError(say("A quotation mark is not closed."), say("Close it.")) from error
    session.parameters.change(assignments)
    changed = {assignment.partition("=")[0] for assignment in assignments}
    lines = [line for line in session.parameters.lines() if not changed or line[0] in changed]
    session.screen.show("\n".join(table(lines)))


def _times(session: Session, _: str) -> None:
    session.shows_times = not session.shows_times
    if session.last is not None:
        session.screen.show(session.last.times())
    if session.shows_times:
        session.screen.note(say("Each answer is followed by its times from now on."))
    else:
        session.screen.note(say("Answers come without their times from now on."))


def _leave(session: Session, _: str) -> None:
    raise Leave


def _nothing() -> str:
    return ""


COMMANDS = (
    Command("ajuda", "help", _nothing, lambda: say("Show the commands."), _help),
    Command("limpar", "clear", _nothing, lambda: say("Begin the conversation anew."), _clear),
    Command("sistema", "system", lambda: say("TEXT"), lambda: say("Set the system message, or show it."), _system),
    Command("salvar", "save", lambda: say("FILE"), lambda: say("Write the conversation to a file."), _save),
    Command(
        "parametros",
        "parameters",
        lambda: say("NAME=VALUE"),
        lambda: say("Show the parameters, or change some."),
        _parameters,
    ),
    Command("tempos", "times", _nothing, lambda: say("Show the times of answers, or no more."), _times),
    Command("sair", "exit", _nothing, lambda: say("Leave."), _leave),
)
"""In the order of the help."""

_BY_NAME = {name: command for command in COMMANDS for name in command.names}
