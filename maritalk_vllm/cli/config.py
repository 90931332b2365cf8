"""`maritalk-vllm config`: shows the options, and where each value comes from."""

from dataclasses import asdict

import typer
import yaml

from ..i18n.message import msg
from ..i18n.rendering import localized, say
from ..masking import MASK, masked, masked_words
from ..settings import OPTIONS, Settings, environment_variable, flag
from .runner import HELP
from .settings_options import with_settings

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)

_SOURCES = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT_MAP": "file", "DEFAULT": "default"}


@app.callback()
def config() -> None:
    """Show the options of maritalk-serve."""


def show(ctx: typer.Context, settings: Settings) -> None:
    """Show each option's value and where it comes from. That is a flag, the environment, the file or the default."""
    rows = []
    for name, value in asdict(settings).items():
        source = ctx.get_parameter_source(name)
        hidden = OPTIONS[name].metadata.get("secret") and value not in (None, ())
        rows.append((name, MASK if hidden else _text(value), _SOURCES[source.name if source else "DEFAULT"]))
    width = max(len(name) for name, *_ in rows)
    for name, value, origin in rows:
        print(f"{name:<{width}}  {value}  [{localized(origin)}]")


app.command()(with_settings(show))


@app.command()
def example() -> None:
    """Print a configuration file with every option. Each has its meaning and its default."""
    print(
        say(
            "# Options of maritalk-serve, for --config FILE or {environment_variable}.",
            environment_variable=environment_variable("config"),
        )
    )
    for name, field in OPTIONS.items():
        about = field.metadata
        meaning, default = about["help"], isinstance(about.get("shown"), str)
        if default:
            meaning = msg("{help} Default: {default}.", help=meaning, default=about["shown"])
        print(f"\n# {localized(meaning)}")
        if name != "engine_args":  # neither a flag nor a variable
            print(f"# {flag(name)}, {environment_variable(name)}")
        print(f"# {name}: {_yaml(None if default else field.default)}")


def _text(value: object) -> str:
    """A value as a configuration file has it, and `-` for none. Words are separated as on a command line."""
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return " ".join(masked_words([str(each) for each in value]))
    return _yaml(value) if isinstance(value, bool | float) else masked(str(value))


def _yaml(value: object) -> str:
    if isinstance(value, tuple):
        plain: object = [str(each) for each in value]
    else:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        plain = number if isinstance(number, bool | int | float | None) else str(value)
    return yaml.safe_dump(plain, default_flow_style=True).removesuffix("...\n").strip()
