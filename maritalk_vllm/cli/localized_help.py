"""`--help` in the selected language: the help texts of the commands, and Typer's own headings."""

from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.main import get_command

from ..language import Language, spoken
from ..translation import translated


def localized(app: typer.Typer) -> Callable[..., Any]:
    """The application as a callable, with translated help; unchanged in English."""
    if spoken() is Language.ENGLISH:
        return app
    command = get_command(app)
    _translate(command)
    return command


def _translate(command: Any) -> None:  # noqa: ANN401  Typer exports no class of commands
    command.context_class = _Context
    # Join the source's line breaks. Typer uses the first sentence in the list of commands.
    paragraphs = (" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    command.help = "\n\n".join(map(translated, paragraphs))
    for other in getattr(command, "commands", {}).values():
        _translate(other)


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Translates Typer's headings and the help of options."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or translated("Usage: "))

    def write_heading(self, heading: str) -> None:
        super().write_heading(translated(heading))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, _translated_help(text)) for name, text in rows], col_max, col_spacing)


def _translated_help(text: str) -> str:
    """Translate the help of an option or argument, and the facts that Typer appends in brackets."""
    help, bracket, more = text.rpartition("  [")
    if not bracket:
        return translated(text)
    facts = map(translated, more.removesuffix("]").split("; "))
    return f"{translated(help)}  [{'; '.join(facts)}]"


class _Context(typer.Context):
    formatter_class = _Formatter
