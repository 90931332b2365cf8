"""`--help` in the selected language: the help texts of the commands, and Typer's own headings."""

from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.main import get_command

from ..i18n.language import Language, selected
from ..i18n.rendering import localized
from .typer_messages import recognized


def with_localized_help(app: typer.Typer) -> Callable[..., Any]:
    """The application as a callable, with localized help; unchanged in English."""
    if selected() is Language.ENGLISH:
        return app
    command = get_command(app)
    _translate(command)
    return command


def _translate(command: Any) -> None:  # noqa: ANN401  Typer exports no class of commands
    command.context_class = _Context
    # Join the source's line breaks. Typer uses the first sentence in the list of commands.
    paragraphs = (" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    command.help = "\n\n".join(map(localized, paragraphs))
    for other in getattr(command, "commands", {}).values():
        _translate(other)


class _Formatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Translates Typer's headings and the help of options."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or localized("Usage: "))

    def write_heading(self, heading: str) -> None:
        super().write_heading(localized(heading))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(name, _translated_help(text)) for name, text in rows], col_max, col_spacing)


def _translated_help(text: str) -> str:
    """Translate the help of an option or argument, and the facts that Typer appends in brackets."""
    help, bracket, more = text.rpartition("  [")
    if not bracket:
        return localized(text)
    facts = (localized(recognized(fact)) for fact in more.removesuffix("]").split("; "))
    return f"{localized(help)}  [{'; '.join(facts)}]"


class _Context(typer.Context):
    formatter_class = _Formatter
