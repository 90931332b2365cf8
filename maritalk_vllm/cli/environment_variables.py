"""Environment variables that look like options and are none, with the nearest option."""

import difflib
import os
import re
from collections.abc import Mapping

from ..engine.temperature_patch import OPT_IN
from ..settings import OPTIONS, PREFIX, environment_variable
from ..translation import translated
from . import container_home, lang_option, option_origin, standard_streams

KNOWN = {
    *map(environment_variable, (*OPTIONS, "config", "url")),
    container_home.VARIABLE,
    lang_option.VARIABLE,
    OPT_IN,
}
"""Every variable of ours, of whichever command."""

_OF_KUBERNETES = re.compile(
    r"MARITALK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What it sets in every container for each Service whose name begins with `maritalk`."""


def warn_of_unknown(environment: Mapping[str, str] = os.environ) -> None:
    """Print a line for each variable that begins as ours do, with the nearest one that there is."""
    # By what follows the beginning that they all have.
    options = {known.removeprefix(PREFIX): known for known in KNOWN}
    for name in sorted(unknown(environment)):
        close = difflib.get_close_matches(name.removeprefix(PREFIX), options, n=1)
        hint = f"Did you mean {options[close[0]]}?" if close else "`maritalk-vllm config example` lists them."
        warning = f"Warning: {name} in the environment is no option."
        standard_streams.note(f"{translated(warning)} {translated(hint)}")


def unknown(environment: Mapping[str, str]) -> list[str]:
    """The names that begin as ours do, and that neither a command nor Kubernetes knows."""
    return [
        name
        for name, value in environment.items()
        if name.startswith(PREFIX)
        and name not in KNOWN
        and not _OF_KUBERNETES.fullmatch(name)
        and not option_origin.is_service_link(value)
    ]
