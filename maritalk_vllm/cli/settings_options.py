"""Generates command line options from the settings dataclass, and settings from the parsed options."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from ..errors import MariTalkError, UsageError
from ..i18n.message import msg, sentences, with_full_stop
from ..masking import secrets_of, without
from ..settings import OPTIONS, Settings, duration_seconds, environment_variable, flag
from . import environment_variables, option_origin, path_options, token_counts
from .config_file import SEVERAL, read_config
from .lang_option import take_language
from .typer_messages import recognized


def with_settings(
    command: Callable[..., None],
    *more: inspect.Parameter,
    shown: Collection[str] | None = None,
    helps: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """Wrap a command to have one option for each field of `Settings`, and the parameters `more`.

    The command is called with the context, the settings, and the values of `more` as keyword arguments. Its help has
    all of them, the settings first; with `shown`, it has `more` first and of the settings those with these names, and
    --help-all shows the others. `helps`: what options mean here, where that differs from their meaning for a server.
    """

    def run(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401
        values: dict[str, Any] = {name: given[name] for name in OPTIONS}
        values |= {name: tuple(given[name] or ()) for name in SEVERAL}
        _take_model(ctx, values, is_used=shown is None or "engine_args" in shown)
        settings = Settings(**values)
        if callable(ctx.obj):  # reload_settings needs only the settings
            ctx.obj(settings)
            return
        environment_variables.warn_of_unknown()
        try:
            command(ctx, settings, **{p.name: given[p.name] for p in more if p.name in given})
        except MariTalkError as error:
            secrets = secrets_of(settings.engine_args, os.environ)
            if settings.debug:
                print(without(secrets, traceback.format_exc()), end="", file=sys.stderr)
            origin = option_origin.of_named_options(ctx, str(error), values)
            # Errors of vLLM and other libraries quote the rejected value.
            error.message = without(secrets, error.message)
            error.hint = without(secrets, sentences(error.hint, origin))
            raise

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    context, config = parameter("ctx", typer.Context), parameter("config", _CONFIG, None)
    if shown is None:
        parameters = [context, config, *map(_option, OPTIONS), *more]
    else:
        ours = [_option(name, is_hidden=name not in shown, help=(helps or {}).get(name)) for name in OPTIONS]
        parameters = [context, *more, config, *ours, parameter("help_all", _HELP_ALL, False)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _take_model(ctx: typer.Context, values: dict[str, Any], *, is_used: bool) -> None:
    """Make the first argument of the command line the model, unless it begins with a dash. Raises UsageError.

    It takes precedence over a model of the environment or the file. `is_used`: whether the command has use for one.
    """
    engine_args, source = values["engine_args"], ctx.get_parameter_source("engine_args") if is_used else None
    if source is not None and source.name == "COMMANDLINE" and engine_args and not engine_args[0].startswith("-"):
        if ctx.get_parameter_source("model") is source:
            raise UsageError(
                msg("Two models are named: {model} and {other}.", model=engine_args[0], other=values["model"]),
                "Leave one of them out.",
            )
        values["model"], *engine_args = engine_args
        values["engine_args"] = tuple(engine_args)
        ctx.set_parameter_source("model", source)
    if engine_args and not engine_args[0].startswith("-"):
        raise UsageError(
            msg(
                "Unexpected argument: {argument}{place}.",
                argument=engine_args[0],
                place=option_origin.location_in_file(ctx, "engine_args"),
            ),
            "Flags for vLLM itself come after `--` and begin with a dash.",
        )


def reload_settings(ctx: typer.Context) -> Settings:
    """Re-read the settings of a running command, with the current configuration file. Raises UsageError."""
    found: list[Settings] = []
    try:
        arguments = take_language(sys.argv[1:])
        ctx.command.main(args=arguments, prog_name=ctx.info_name, standalone_mode=False, obj=found.append)
    except typer.TyperException as error:
        invalid = option_origin.invalid(error)
        raise UsageError(invalid[0] if invalid is not None else with_full_stop(recognized(str(error)))) from error
    return found[0]


def _use_config(ctx: typer.Context, param: typer.CallbackParam, file: Path | None) -> Path | None:
    file = path_options.checked(ctx, param, file)
    if file is not None:
        option_origin.remember(ctx, read_config(file))
    return file


_CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with options, named as below without dashes.",
        metavar="FILE",
        envvar=environment_variable("config"),
        is_eager=True,
        callback=_use_config,
        show_default=False,
    ),
]


def _show_all(ctx: typer.Context, asked: bool) -> None:
    if asked:
        for each in ctx.command.params:
            each.hidden = False  # type: ignore[attr-defined]
        print(ctx.get_help())
        raise typer.Exit


_HELP_ALL = Annotated[
    bool,
    typer.Option(
        "--help-all", help="Show the options of maritalk-serve too, and exit.", is_eager=True, callback=_show_all
    ),
]


def _duration(value: str) -> str:
    """Check a time with a unit. Raises ValueError with a message for the user."""
    duration_seconds(value)
    return value.strip()


_PARSERS: dict[str, Callable[[str], object]] = {
    "tokens": token_counts.at_least_one,
    "tokens_or_auto": token_counts.or_auto,
    "duration": _duration,
}
"""Parsers of numbers with suffixes, by an option's `unit`."""


_ARGUMENTS = "What to serve, as --model says; flags for vLLM itself, after `--`."
"""Help of the arguments. Typer passes them as one list, without the `--` between them."""


def _is_path(typed: Any) -> bool:  # noqa: ANN401
    """Whether the type is Path, an optional Path, or a list of them."""
    return typed is Path or any(map(_is_path, get_args(typed)))


def parameter(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
    """A keyword parameter for the signature that Typer inspects."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(name: str, *, is_hidden: bool = False, help: str | None = None) -> inspect.Parameter:
    """One field of `Settings` as a parameter for Typer; --help leaves out a hidden one. `help` replaces the field's."""
    field = OPTIONS[name]
    about = dict(field.metadata)
    if name == "engine_args":
        argument = typer.Argument(
            help=_ARGUMENTS, metavar="[MODEL] [-- VLLM FLAGS]", show_default=False, hidden=is_hidden
        )
        return parameter(name, Annotated[list[str] | None, argument], None)
    typed = get_type_hints(Settings)[name]
    factory = None if field.default_factory is MISSING else field.default_factory
    default = field.default if factory is None else inspect.Parameter.empty
    if name in SEVERAL:
        typed, default = list[get_args(typed)[0]] | None, None  # type: ignore[misc]
    short = [about["short"]] if "short" in about else []
    information = typer.Option(
        *short,
        f"{flag(name)}/--no-{flag(name)[2:]}" if default is True else flag(name),
        help=help or about["help"],
        metavar=about.get("metavar"),
        min=about.get("min"),
        max=about.get("max"),
        envvar=environment_variable(name),
        default_factory=factory,
        show_default=about.get("shown", default is not None and default is not False),
        callback=path_options.checked if _is_path(typed) else None,
        parser=_PARSERS.get(about.get("unit", "")),
        hidden=is_hidden,
    )
    return parameter(name, Annotated[typed, information], default)
