"""Waits for a maritalk-serve that is stopping to give up its port and its GPUs."""

import errno
import socket
import time
from collections.abc import Callable

from ...http.port_owner import port_owner
from ...i18n.message import msg

WAIT_SECONDS = 15
"""Longer than an engine without requests takes to exit."""

_POLL_SECONDS = 0.2


def wait_for_stopping_server(host: str, port: int, report: Callable[[str], object]) -> None:
    """If a maritalk-serve that is stopping holds the port, wait until it is free, for up to WAIT_SECONDS.

    It closes the port last: the memory of its GPUs is free as well then. `report` is called with a sentence if there is
    such a server. A port that is still in use afterwards is an error of `listen`.
    """
    deadline, is_reported = time.monotonic() + WAIT_SECONDS, False
    while _is_in_use(host, port) and time.monotonic() < deadline:
        if not is_reported:
            # Only once: of a process that is exiting, the owner cannot be found while its port is still in use.
            owner = port_owner(port)
            if owner is None or not owner.is_stopping:
                return
            report(
                msg(
                    "Port {port} is in use by a maritalk-serve that is stopping, process {pid}. Waiting for its end.",
                    port=port,
                    pid=owner.pid,
                )
            )
            is_reported = True
        time.sleep(_POLL_SECONDS)


def _is_in_use(host: str, port: int) -> bool:
    """Whether a program listens on the port. Other errors of an address are those of `listen`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except UnicodeError:  # a host name that is too long
        return False
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False
