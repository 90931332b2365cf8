"""Warnings about environment variables that look like options but are unknown."""

import difflib
import os
import re
from collections.abc import Mapping

from ..engine.temperature_patch import OPT_IN
from ..i18n.message import msg
from ..i18n.rendering import localized
from ..settings import OPTIONS, PREFIX, environment_variable
from . import container_home, lang_option, option_origin, standard_streams

KNOWN = {
    *map(environment_variable, (*OPTIONS, "config", "url")),
    container_home.VARIABLE,
    lang_option.VARIABLE,
    OPT_IN,
}
"""All variables of all commands."""

_KUBERNETES_SERVICE = re.compile(
    r"MARITALK_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""Variables that Kubernetes sets in every container for each Service whose name begins with `maritalk`."""


def warn_of_unknown(environment: Mapping[str, str] = os.environ) -> None:
    """Print a warning for each unknown variable with our prefix, with the nearest known one."""
    # Compared without the common prefix.
    options = {known.removeprefix(PREFIX): known for known in KNOWN}
    for name in sorted(unknown(environment)):
        close = difflib.get_close_matches(name.removeprefix(PREFIX), options, n=1)
        hint = (
            msg("Did you mean {word}?", word=options[close[0]])
            if close
            else "`maritalk-vllm config example` lists them."
        )
        warning = msg("Warning: {name} in the environment is no option.", name=name)
        standard_streams.note(f"{localized(warning)} {localized(hint)}")


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Names with our prefix that neither a command nor Kubernetes defines."""
    return [
        name
        for name, value in environment.items()
        if name.startswith(PREFIX)
        and name not in KNOWN
        and not _KUBERNETES_SERVICE.fullmatch(name)
        and not option_origin.is_service_link(value)
    ]
