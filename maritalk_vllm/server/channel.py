"""Messages of any length between the server's processes."""

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

Message = dict[str, Any]


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
        """The descriptor, for whoever waits on several."""
        return self._end.fileno()

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send; silently into the void if the other end is gone, whose death is noticed elsewhere.

        `descriptor`: what the other end has as `descriptor` of the message, and closes. Raises OSError if the message
        is too long for one, or the system passes no more.
        """
        data = json.dumps(message).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if descriptor is not None:
                if len(data) > _PACKET_BYTES:
                    raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
                socket.send_fds(self._end, [data], [descriptor])
                return
            if len(data) <= _PACKET_BYTES:
                self._end.send(data)
                return
            # A longer packet is refused or cut, and several would mix with those of another process. A file in memory
            # is there for as long as one of the two has it open.
            with os.fdopen(os.memfd_create("message"), "w+b") as file:
                file.write(data)
                file.flush()
                socket.send_fds(self._end, [_IN_A_FILE], [file.fileno()])

    def send_if_taken(self, message: Message) -> None:
        """Send a short message, unless the other end is behind with those before: then it is left out."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._end.send(json.dumps(message).encode(), socket.MSG_DONTWAIT)

    @property
    def has_message(self) -> bool:
        """Whether `receive` would return at once."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self) -> Message | None:
        """The next message, or None when nobody is left who could send one."""
        try:
            data, files, *_ = socket.recv_fds(self._end, _PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        if data == _IN_A_FILE:
            with os.fdopen(files.pop(), "rb") as file:
                file.seek(0)  # the position is the sender's too
                data = file.read()
        if not data:
            return None
        message: Message = json.loads(data)
        return {**message, "descriptor": files[0]} if files else message

    def close(self) -> None:
        """Close this end."""
        self._end.close()
