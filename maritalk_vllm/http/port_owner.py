"""Finds the process that listens on a port of this machine."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process, by the name that `ps` shows without its arguments, which may hold a secret."""

    name: str
    pid: int


def port_owner(port: int) -> PortOwner | None:
    """The process that opened this TCP port; None if it is another user's, or in another container.

    The processes that it forks hold the port as well: it is the first of its ancestors and itself that does.
    """
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in _listening(psutil.net_connections("tcp"), port):
            if connection.pid is not None:
                owner = psutil.Process(connection.pid)
                for ancestor in owner.parents():
                    with contextlib.suppress(psutil.AccessDenied):
                        if _listening(ancestor.net_connections("tcp"), port):
                            owner = ancestor
                return PortOwner(owner.name().strip(), owner.pid)
    return None


def _listening(connections: Iterable[Any], port: int) -> list[Any]:
    """Those of psutil's connections that listen on this port."""
    return [each for each in connections if each.status == "LISTEN" and getattr(each.laddr, "port", None) == port]
