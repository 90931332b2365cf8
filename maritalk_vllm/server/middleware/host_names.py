"""Names of hosts, and of sites with pages that may ask, as the user gives them and as they are compared."""

import ipaddress
import json
import re

from ...errors import UsageError
from ...settings import Settings

_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\*")


def host_names(settings: Settings) -> tuple[str, ...]:
    """The names that the user allows, beside IP addresses and localhost. Raises UsageError for one that is none."""
    given = []
    for each in settings.allowed_host:
        name = plain(each)
        if not _NAME.fullmatch(name) and not is_address(name):
            raise UsageError(
                f"--allowed-host {each!r} is no name of a host.",
                "Give a name without scheme and port, such as chat.example.org, or *.example.org for all below it.",
            )
        given.append(name)
    return tuple(given)


def origins(settings: Settings) -> tuple[str, ...]:
    """The sites that vLLM's `--allowed-origins` names; a value that is none is for vLLM to refuse."""
    try:
        given = json.loads(settings.engine_arg("--allowed-origins") or "[]")
    except ValueError:
        return ()
    return tuple(each for each in given if isinstance(each, str)) if isinstance(given, list) else ()


def plain(name: str) -> str:
    """A name as it is compared: in lower case, an IPv6 address without brackets, no dot at the end."""
    name = name.strip().lower()
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return name.removesuffix(".")


def is_address(name: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
