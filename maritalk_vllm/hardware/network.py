"""Find the local address and interface from which this machine reaches another."""

import socket
from dataclasses import dataclass

import psutil

_ANY_PORT = 9
"""Nothing is sent to this port: the kernel only looks up the route."""


@dataclass(frozen=True, slots=True)
class Route:
    """`address` is this machine's own; `interface` is None if no interface is known to have it."""

    address: str
    interface: str | None


def route_to(host: str) -> Route:
    """The route to `host`, an address or a name. Raises OSError if there is no route or no such name."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as udp:
        udp.connect(address)
        local = str(udp.getsockname()[0]).partition("%")[0]
    return Route(local, _interface(local))


def is_own(host: str) -> bool:
    """Whether `host` is an address of this machine, or resolves to one. Raises OSError if there is no such name."""
    addresses = {info[4][0] for info in socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)}
    return any(_interface(str(address)) is not None for address in addresses)


def _interface(local: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == local for each in addresses):
            return name
    return None
