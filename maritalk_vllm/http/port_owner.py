"""Finds the process that listens on a port of this machine."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

STOPPING_MARK = "(stopping)"
"""The end of the title of a maritalk-serve that stops, by which the next one knows that its port will be free."""


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process, by the name that `ps` shows without its arguments, which may hold a secret.

    `is_stopping`: it is a maritalk-serve that is about to exit.
    """

    name: str
    pid: int
    is_stopping: bool = False


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
                name = owner.name().strip()
                title = " ".join(owner.cmdline()).rstrip()
                is_stopping = name == "maritalk-serve" and title.endswith(STOPPING_MARK)
                return PortOwner(name, owner.pid, is_stopping)
    return None


def _listening(connections: Iterable[Any], port: int) -> list[Any]:
    """Those of psutil's connections that listen on this port."""
    return [each for each in connections if each.status == "LISTEN" and getattr(each.laddr, "port", None) == port]
