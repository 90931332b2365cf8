"""Origin of an option's value, for error messages: flag, environment variable, or line of the file."""

import os
import re
from typing import Any

import typer

from ..i18n.message import clause, msg, sentences
from ..masking import masked
from ..settings import OPTIONS, environment_variable, flag
from .config_file import ConfigFile
from .typer_messages import recognized

_FILE = "maritalk_vllm.config_file"
_MAX_SHOWN = 100
"""Characters of a value that an error message quotes."""

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")
"""Value that Kubernetes sets in a container's environment for a Service: MARITALK_PORT for one named maritalk."""


def remember(ctx: typer.Context, file: ConfigFile) -> None:
    """Use the file's values as defaults, and keep their locations for error messages."""
    # Click reads default_map after the command line and the environment, which is our precedence.
    ctx.default_map = dict(file.values)
    ctx.meta[_FILE] = file


def is_service_link(value: str) -> bool:
    """Whether Kubernetes has set this value, and not the user."""
    return _SERVICE_LINK.match(value) is not None


def invalid(error: Any) -> tuple[str, str] | None:  # noqa: ANN401  Typer exports no class of parameters
    """Message and hint for a value that cannot be parsed; None for any other error of Typer."""
    ctx, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if not isinstance(error, typer.BadParameter) or ctx is None or param is None or not error.message:
        return None
    message = clause(recognized(error.message.removeprefix("Value error, ")))
    source, name = _source(ctx, param.name), param.name
    if source == "DEFAULT_MAP":
        file: ConfigFile = ctx.meta[_FILE]
        value = file.values[name]
        if _is_secret(name) or not isinstance(value, str):
            return msg("Invalid value for {hint}: {message}.", hint=file.places[name], message=message), ""
        return msg(
            "Invalid value for {place}, which is {value}: {message}.",
            place=file.places[name],
            value=_shown(value),
            message=message,
        ), ""
    if source != "ENVIRONMENT":
        flags = "/".join(param.opts) if param.param_type_name == "option" else param.display_name_raw
        return msg("Invalid value for {hint}: {message}.", hint=flags, message=message), ""
    value = os.environ.get(param.envvar, "")
    if _is_secret(name):
        return msg(
            "Invalid value for {variable} in the environment: {message}.", variable=param.envvar, message=message
        ), ""
    hint = ""
    if is_service_link(value):
        hint = (
            "Kubernetes sets it for a Service of this name. Set enableServiceLinks: false in the pod, or give the "
            "Service another name."
        )
    return msg(
        "Invalid value for {variable} in the environment, which is {value}: {message}.",
        variable=param.envvar,
        value=_shown(value),
        message=message,
    ), hint


def location_in_file(ctx: typer.Context, name: str) -> str:
    """Location of an option in the file, as the end of a sentence; empty if it is not from the file."""
    return f" ({ctx.meta[_FILE].places[name]})" if _source(ctx, name) == "DEFAULT_MAP" else ""


def of_named_options(ctx: typer.Context, text: str, values: dict[str, Any]) -> str:
    """Origin of each option that an error names by flag or value; empty for those given as flags."""
    places = []
    for name in OPTIONS:
        source = _source(ctx, name)
        if source not in ("DEFAULT_MAP", "ENVIRONMENT") or not _is_named(name, values.get(name), text):
            continue
        where = environment_variable(name) if source == "ENVIRONMENT" else str(ctx.meta[_FILE].places[name])
        places.append(msg("{flag} is set by {place}.", flag=flag(name), place=where))
    return sentences(*places)


def _is_named(name: str, value: Any, text: str) -> bool:  # noqa: ANN401
    if re.search(rf"{re.escape(flag(name))}(?![\w-])", text):
        return True
    # Only paths: a number or a short word may be in the message for another reason.
    shown = str(value)
    return not _is_secret(name) and "/" in shown and shown in text


def _is_secret(name: str) -> bool:
    return name in OPTIONS and bool(OPTIONS[name].metadata.get("secret"))


def _source(ctx: typer.Context, name: str) -> str:
    source = ctx.get_parameter_source(name)
    return source.name if source is not None else ""


def _shown(value: str) -> str:
    shown = masked(value)
    return repr(shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}...")
