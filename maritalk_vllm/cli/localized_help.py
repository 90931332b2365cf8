"""`--help` in the language chosen: what the commands say of themselves, and what Typer says around it."""

from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.main import get_command

from ..language import Language, spoken
from ..translation import translated


def in_the_language_chosen(app: typer.Typer) -> Callable[..., Any]:
    """The application, to be called with a command line. In English it is left alone."""
    if spoken() is Language.ENGLISH:
        return app
    command = get_command(app)
    _translate(command)
    return command


def _translate(command: Any) -> None:  # noqa: ANN401  Typer exports no class of commands
    command.context_class = _Context
    # A help text's lines are the source's. Of its first sentence Typer makes the line in the list of commands.
    paragraphs = (" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    command.help = "\n\n".join(map(translated, paragraphs))
    for other in getattr(command, "commands", {}).values():
        _translate(other)


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Writes Typer's own words, and what the options are for."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or translated("Usage: "))

    def write_heading(self, heading: str) -> None:
        super().write_heading(translated(heading))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, _described(text)) for name, text in rows], col_max, col_spacing)


def _described(text: str) -> str:
    """The help of an option or argument, and behind it, in brackets, where else it comes from and what it may be."""
    help, bracket, more = text.rpartition("  [")
    if not bracket:
        return translated(text)
    facts = map(translated, more.removesuffix("]").split("; "))
    return f"{translated(help)}  [{'; '.join(facts)}]"


class _Context(typer.Context):
    formatter_class = _Formatter
