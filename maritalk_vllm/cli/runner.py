"""Runs a command line application: the one place where an error becomes a message and an exit code."""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import setproctitle
import typer

from ..errors import MariTalkError, UsageError
from ..i18n.message import msg, with_full_stop
from ..i18n.rendering import localized
from ..settings import PREFIX
from . import option_origin, standard_streams
from .lang_option import take_language
from .localized_help import with_localized_help
from .typer_messages import recognized

HELP = {"help_option_names": ["-h", "--help"]}
"""Context settings of every command."""

INTERRUPTED = 130


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run `app` and exit with its exit code."""
    # Hides the arguments, which may contain a licence, a key or a token, from the process list.
    setproctitle.setproctitle(name)
    standard_streams.open_missing()
    # Typer replaces sys.stdout when its reader has exited: keep the original streams.
    output, remarks = sys.stdout, sys.stderr
    for stream in (output, remarks):
        standard_streams.write_utf8(stream)
    try:
        code = _run(app, name)
    except SystemExit as error:
        code = error.code
    except OSError as error:
        if not standard_streams.is_write_error(error):
            raise
        code = _report_unwritten(name, error)
    if (failed := standard_streams.finish(output)) is not None:
        code = code or _report_unwritten(name, failed)
    standard_streams.finish(remarks)
    sys.exit(code or 0)


def _run(app: typer.Typer, name: str) -> int | str | None:
    """Run a command, report its error if any, and return the exit code."""
    try:
        arguments = take_language(sys.argv[1:])
        _check_text(arguments, os.environ)
        code: int | None = with_localized_help(app)(args=arguments, prog_name=name, standalone_mode=False)
        return code
    except typer.TyperException as error:
        return _report_usage(name, error)
    except MariTalkError as error:
        return _report(name, error)
    except MemoryError:
        return _report(name, MariTalkError("There is not enough memory for this command.", "See the limit: ulimit -v."))
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def _report_unwritten(name: str, error: OSError) -> int:
    """Report that the output cannot be written, except for EPIPE (as with `head`); returns the exit code."""
    unwritten = MariTalkError(msg("The output cannot be written: {reason}.", reason=error.strerror))
    return unwritten.exit_code if error.errno == errno.EPIPE else _report(name, unwritten)


def _report_usage(name: str, error: typer.TyperException) -> int:
    # All errors here have this method, but Typer does not export the class that defines it.
    text = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    context: typer.Context | None = getattr(error, "ctx", None)
    if context is not None and text == context.get_help():  # no command was named
        print(text)
        return 0
    help_hint = msg("Try `{name} --help`.", name=context.command_path if context is not None else name)
    if (invalid := option_origin.invalid(error)) is not None:
        return _report(name, UsageError(invalid[0], invalid[1] or help_hint))
    return _report(name, UsageError(with_full_stop(recognized(text)), help_hint))


def _report(name: str, error: MariTalkError) -> int:
    standard_streams.note(f"{name}: {localized(error.text)}")
    return error.exit_code


def _check_text(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises UsageError for bytes that are not UTF-8, which neither JSON nor a tokenizer would accept later.

    The message does not repeat the value, which may be a licence.
    """
    hint = "Rename the file, or write the value in UTF-8."
    for number, argument in enumerate(arguments):
        if not _is_text(argument):
            flag = next((each for each in reversed(arguments[:number]) if each.startswith("-")), None)
            if argument.startswith("-"):
                flag = argument.partition("=")[0]
            source = (
                msg("The value of {flag}", flag=flag)
                if flag is not None and _is_text(flag)
                else msg("Argument {number}", number=number + 1)
            )
            raise UsageError(msg("{what} is no text in UTF-8.", what=source), hint)
    for name, value in environment.items():
        if name.startswith(PREFIX) and not _is_text(value):
            raise UsageError(msg("The value of {name} is no text in UTF-8.", name=name), hint)


def _is_text(value: str) -> bool:
    # Python represents bytes that are not UTF-8 as lone surrogates.
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
