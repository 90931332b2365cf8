"""Runs a command line application; the one place where an error becomes a sentence and an exit code."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, TextIO

import typer

from ..errors import MariTalkError, UsageError
from ..settings import PREFIX
from ..translation import translated
from .help import in_the_language_chosen
from .language import take_language

HELP = {"help_option_names": ["-h", "--help"]}
"""Context settings of every command."""

INTERRUPTED = 130


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run `app` and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        _write_utf8(stream)
    try:
        arguments = take_language(sys.argv[1:])
        _check_text(arguments, os.environ)
        code = in_the_language_chosen(app)(args=arguments, prog_name=name, standalone_mode=False)
    except typer.TyperException as error:
        code = _tell_usage(name, error)
    except MariTalkError as error:
        code = _tell(name, error)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    sys.exit(code or 0)


def _tell_usage(name: str, error: typer.TyperException) -> int:
    # Typer does not export the class that has this method, of which all that it raises here are.
    text = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is not None and text == context.get_help():  # no command was named
        print(text, file=sys.stderr, flush=True)
        return UsageError.exit_code
    return _tell(name, UsageError(text if text.endswith((".", "?")) else f"{text}.", f"Try `{name} --help`."))


def _tell(name: str, error: MariTalkError) -> int:
    with contextlib.suppress(OSError):  # nobody reads: the exit code still tells
        told = f"{translated(error.message)} {translated(error.hint)}".strip()
        print(f"{name}: {told}", file=sys.stderr, flush=True)
    return error.exit_code


def _check_text(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises UsageError for bytes that are no UTF-8: later neither JSON nor a tokenizer takes them.

    No value is repeated: it may be a licence.
    """
    hint = "Rename the file, or write the value in UTF-8."
    for number, argument in enumerate(arguments):
        if not _is_text(argument):
            flag = next((each for each in reversed(arguments[:number]) if each.startswith("-")), None)
            if argument.startswith("-"):
                flag = argument.partition("=")[0]
            what = f"The value of {flag}" if flag is not None and _is_text(flag) else f"Argument {number + 1}"
            raise UsageError(f"{what} is no text in UTF-8.", hint)
    for name, value in environment.items():
        if name.startswith(PREFIX) and not _is_text(value):
            raise UsageError(f"The value of {name} is no text in UTF-8.", hint)


def _is_text(value: str) -> bool:
    # Python has bytes that are no UTF-8 as lone surrogates.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _write_utf8(stream: TextIO) -> None:
    # Clients decode what we write as UTF-8, whatever the locale here.
    stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[attr-defined]
