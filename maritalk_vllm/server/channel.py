"""Short messages between the server's processes."""

import contextlib
import json
import socket
from typing import Any

_LONGEST = 64 * 1024

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

    def send(self, message: Message) -> None:
        """Send; silently into the void if the other end is gone, whose death is noticed elsewhere."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._end.send(json.dumps(message).encode())

    def receive(self) -> Message | None:
        """The next message, or None when nobody is left who could send one."""
        try:
            data = self._end.recv(_LONGEST)
        except ConnectionResetError:
            return None
        return json.loads(data) if data else None

    def close(self) -> None:
        """Close this end."""
        self._end.close()
