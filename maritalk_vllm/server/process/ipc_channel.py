"""Messages of any length between the server's processes."""

import array
import contextlib
import errno
import json
import os
import select
import socket
from typing import Any

_PACKET_BYTES = 64 * 1024
"""What one packet holds, well below what Linux lets a socket send at once (net.core.wmem_default)."""

_IN_A_FILE = b"\0"
"""In place of a longer message, which no JSON begins so: it is in the file whose descriptor the packet brings."""

_DESCRIPTOR = "descriptor"
"""The key of a descriptor in a message."""

Message = dict[str, Any]


class MessageLost(OSError):
    """A message has come without its file, since this process has too many open: nothing is known of its content."""


class Channel:
    """One end of a pair of sockets. Messages arrive whole, also when several processes send to one end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Two ends that talk to each other."""
        # Unlike a pipe or a stream, SEQPACKET keeps each message apart from the next.
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    @classmethod
    def inherited(cls, descriptor: int) -> "Channel":
        """The end that the parent process has left open."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Message, descriptor: int | None = None, *, wait: bool = True) -> None:
        """Send; silently into the void if the other end is gone, whose death is noticed elsewhere.

        `descriptor`: what the other end has as `descriptor` of the message, and closes. Raises OSError if the message
        is too long for one, or the system passes no more, and without `wait` if the other end is behind.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        data = json.dumps(message if descriptor is None else {**message, _DESCRIPTOR: True}).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if descriptor is not None:
                if len(data) > _PACKET_BYTES:
                    raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
                self._send_with(data, descriptor, flags)
                return
            if len(data) <= _PACKET_BYTES:
                self._end.send(data, flags)
                return
            # A longer packet is refused or cut, and several would mix with those of another process. A file in memory
            # is there for as long as one of the two has it open.
            with os.fdopen(os.memfd_create("message"), "w+b") as file:
                file.write(data)
                file.flush()
                self._send_with(_IN_A_FILE, file.fileno(), flags)

    def send_if_taken(self, message: Message) -> None:
        """Send a short message, unless the other end is behind or the system has no memory: then it is left out."""
        with contextlib.suppress(OSError):
            self.send(message, wait=False)

    def _send_with(self, data: bytes, descriptor: int, flags: int) -> None:
        # socket.send_fds of Python 3.11 takes flags and ignores them.
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        self._end.sendmsg([data], [rights], flags)

    @property
    def has_message(self) -> bool:
        """Whether `receive` would return at once."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self) -> Message | None:
        """The next message, or None when no process is left that could send one. Raises Lost."""
        try:
            data, files, *_ = socket.recv_fds(self._end, _PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        if data == _IN_A_FILE:
            if not files:
                raise MessageLost(errno.EMFILE, os.strerror(errno.EMFILE))
            with os.fdopen(files.pop(), "rb") as file:
                file.seek(0)  # the position is the sender's too
                data = file.read()
        if not data:
            return None
        message: Message = json.loads(data)
        if _DESCRIPTOR not in message:
            return message
        if not files:
            raise MessageLost(errno.EMFILE, os.strerror(errno.EMFILE))
        return {**message, _DESCRIPTOR: files[0]}

    def close(self) -> None:
        """Close this end."""
        self._end.close()
