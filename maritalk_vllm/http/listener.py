"""The listening socket of the server, and its URLs."""

import contextlib
import ctypes
import errno
import ipaddress
import select
import socket
import struct

from ..errors import PortError
from ..i18n.message import msg
from .port_owner import port_owner

_BACKLOG = 2048

_SO_ATTACH_FILTER = 26
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags of the TCP header, where a socket's filter starts
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # yes: drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # no: pass the whole packet
)
"""A program for the kernel's classic packet filter (socket(7), SO_ATTACH_FILTER)."""


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 selects a free one. Raises PortError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:  # the latter for a name that is too long
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PortError(msg("There is no address {host} to listen on: {reason}.", host=host, reason=reason)) from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit this option: without it, a response in two parts waits 40 ms for the ACK of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            hint = "Stop that program, or choose another with --port."
            raise PortError(_in_use(port), hint, is_in_use=True) from error
        raise PortError(
            msg(
                "The server cannot listen on {host}, port {port}: {reason}.",
                host=host,
                port=port,
                reason=error.strerror,
            )
        ) from error
    return listener


def _in_use(port: int) -> str:
    owner = port_owner(port)
    if owner is None:
        return msg("Port {port} is in use by another program.", port=port)
    return msg("Port {port} is in use by {name}, process {pid}.", port=port, name=owner.name, pid=owner.pid)


def drop_new_connections(listener: socket.socket) -> None:
    """Make the kernel ignore new connections to a listener that is about to be closed.

    Closing a listener resets the connections in its queue, so the queue has to be emptied first, and no connection may
    be added meanwhile. A client that connects meanwhile retries a second later, when there is no listener, and its
    connection is refused. Connections in the middle of their TCP handshake are still accepted.
    """
    program = b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN)
    memory = ctypes.create_string_buffer(program)
    # Some systems have no such filter: a connection that arrives just before the close may then be reset.
    with contextlib.suppress(OSError):
        option = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(memory))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def has_waiting(listener: socket.socket) -> bool:
    """Return whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def url(listener: socket.socket, scheme: str = "http") -> str:
    """Return the address that it listens on, for display: http://0.0.0.0:9000."""
    return join_url(scheme, *listener.getsockname()[:2])


def local_url(listener: socket.socket, scheme: str = "http") -> str:
    """Return a URL by which this machine reaches it."""
    host, port = listener.getsockname()[:2]
    return join_url(scheme, reachable_host(host), port)


def reachable_host(host: str) -> str:
    """Return the address or name by which this machine reaches a server on `host`, which may be a wildcard address."""
    try:
        listens_on_all = ipaddress.ip_address(host.partition("%")[0]).is_unspecified
    except ValueError:  # a name
        return host
    if listens_on_all:
        return "::1" if ":" in host else "127.0.0.1"
    return host


def join_url(scheme: str, host: str, port: int) -> str:
    """Build a URL such as `http://10.0.0.1:9000`, with an IPv6 address in brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
