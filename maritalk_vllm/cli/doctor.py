"""`maritalk-vllm doctor`: checks everything that would make a start fail."""

import json
import os
from dataclasses import asdict, replace
from typing import Annotated

import typer

from ..i18n.message import sentences
from ..i18n.rendering import localized
from ..masking import secrets_of, without
from ..settings import Settings
from . import option_origin
from .settings_options import parameter, with_settings

_SYMBOLS = {"ok": "✓", "warning": "!", "problem": "✗"}


def doctor(ctx: typer.Context, settings: Settings, *, as_json: bool) -> None:
    """Check everything that could make a start fail. Takes the options of maritalk-serve.

    Exit codes: 0 a start would work, else the code with which it would end: 2 usage, 3 licence, 4 no suitable GPU,
    5 does not fit, 6 weights, 7 vLLM, 8 port.
    """
    from ..tools.doctor.check import Status
    from ..tools.doctor.check_runner import examine, exit_code

    checks = [
        replace(
            check,
            hint=sentences(check.hint, option_origin.of_named_options(ctx, check.message, asdict(settings))),
        )
        if check.status is Status.PROBLEM
        else check
        for check in examine(settings)
    ]
    secrets = secrets_of(settings.engine_args, os.environ)
    checks = [
        replace(each, message=without(secrets, each.message), hint=without(secrets, each.hint)) for each in checks
    ]
    if as_json:
        rows = [{key: value for key, value in asdict(check).items() if key != "exit_code"} for check in checks]
        print(json.dumps({"exit_code": exit_code(checks), "checks": rows}, indent=2, ensure_ascii=False))
    else:
        names = [localized(check.name) for check in checks]
        width = max(map(len, names))
        for name, check in zip(names, checks, strict=True):
            text = f"{localized(check.message)} {localized(check.hint)}"
            print(f"{_SYMBOLS[check.status]} {name:<{width}}  {text}".rstrip())
    if code := exit_code(checks):
        raise typer.Exit(code)


_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]

command = with_settings(
    doctor, parameter("as_json", _JSON, False), shown=("license", "model", "device", "port", "engine_args")
)
