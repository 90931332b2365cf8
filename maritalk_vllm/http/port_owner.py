"""Finds the process that listens on a port of this machine."""

import contextlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortOwner:
    """A process, by the name that `ps` shows without its arguments, which may hold a secret."""

    name: str
    pid: int


def port_owner(port: int) -> PortOwner | None:
    """The process that listens on this TCP port; None if it is another user's, or in another container."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.pid is not None
                and connection.status == psutil.CONN_LISTEN
                and getattr(connection.laddr, "port", None) == port
            ):
                return PortOwner(psutil.Process(connection.pid).name().strip(), connection.pid)
    return None
