"""By which of its addresses and interfaces this machine reaches another."""

import socket
from dataclasses import dataclass

import psutil

_ANY_PORT = 9
"""Nothing is sent there: only the way is asked for."""


@dataclass(frozen=True, slots=True)
class Route:
    """`address` is this machine's own; `interface` is None where the system does not tell which has it."""

    address: str
    interface: str | None


def route_to(host: str) -> Route:
    """The way to `host`, an address or a name. Raises OSError where there is none, or no such name."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        own = str(probe.getsockname()[0]).partition("%")[0]
    return Route(own, _interface(own))


def is_own(host: str) -> bool:
    """Whether `host` is an address of this machine, or a name of one. Raises OSError where there is no such name."""
    addresses = {info[4][0] for info in socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)}
    return any(_interface(str(address)) is not None for address in addresses)


def _interface(own: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == own for each in addresses):
            return name
    return None
