"""Host names and origins from the settings, in the form in which they are compared."""

import ipaddress
import json
import re

from ...errors import UsageError
from ...i18n.message import msg
from ...settings import Settings

_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\*")


def host_names(settings: Settings) -> tuple[str, ...]:
    """Return the allowed host names beside IP addresses and localhost. Raises UsageError for an invalid name."""
    names = []
    for each in settings.allowed_host:
        name = plain(each)
        if not _NAME.fullmatch(name) and not is_address(name):
            raise UsageError(
                msg("--allowed-host {name!r} is no name of a host.", name=each),
                "Give a name without scheme and port, such as chat.example.org, or *.example.org for all below it.",
            )
        names.append(name)
    return tuple(names)


def origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins of vLLM's `--allowed-origins`. vLLM itself rejects an invalid value."""
    try:
        values = json.loads(settings.engine_arg("--allowed-origins") or "[]")
    except ValueError:
        return ()
    return tuple(each for each in values if isinstance(each, str)) if isinstance(values, list) else ()


def plain(name: str) -> str:
    """Normalize a host name: lower case, an IPv6 address without brackets, no trailing dot."""
    name = name.strip().lower()
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return name.removesuffix(".")


def is_address(name: str) -> bool:
    """Return whether `name` is an IP address, with or without an IPv6 zone."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
