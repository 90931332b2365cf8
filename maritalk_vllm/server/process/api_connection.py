"""The supervisor's connection to one API process: its control channel, and its heartbeat."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Never

from ..messaging.base_message import MessageError
from .descriptors import Descriptor
from .heartbeat import Heartbeat
from .ipc_channel import Channel
from .process_errors import start_errors
from .process_messages import CONTROL, AbortClient, Control, TransferredConnection, UpdateOptions

_RETRY_SECONDS = 0.2
"""Delay before a control message is sent again whose receiver's socket was full."""


class ApiConnection:
    """Survives its API process: the next one gets a new channel."""

    def __init__(self) -> None:
        self.heartbeat = Heartbeat()
        """The heartbeat of the API process, from its first message on."""
        self._channel: Channel[Never, Control] | None = None
        self._unsent: list[Control] = []  # in order
        self._update: UpdateOptions | None = None  # the last, until it is replaced
        self._retry: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def new_channel(self) -> Iterator[Descriptor]:
        """Replace the control channel, and yield the other end for the next job. Raises EngineError."""
        self.close()
        with start_errors():
            self._channel, theirs = Channel.pair(None, CONTROL)
        with contextlib.closing(theirs):
            yield Descriptor(theirs.fileno())

    def send(self, message: Control) -> None:
        """Send a message to the process that has the control channel, without waiting for it; none has it at first.

        It is sent again until the receiver's socket takes it. A newer message of the same type replaces it, except
        AbortClient and TransferredConnection. The socket of a connection is closed in this process once it is sent.
        """
        if isinstance(message, UpdateOptions):
            self._update = message
        if not isinstance(message, AbortClient | TransferredConnection):
            self._unsent = [each for each in self._unsent if type(each) is not type(message)]
        self._unsent.append(message)
        self._send_unsent()

    def send_update_again(self) -> None:
        """Send the last UpdateOptions again, which was lost."""
        if self._update is not None:
            self.send(self._update)

    def _send_unsent(self) -> None:
        # Never wait: a process that hangs reads nothing.
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        while self._channel is not None and self._unsent:
            try:
                self._channel.send(self._unsent[0], wait=False)
            except MessageError:
                del self._unsent[0]
                raise
            except OSError:  # the receiver's socket is full, or this process has too many files open
                self._retry = asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._send_unsent)
                return
            _close_socket(self._unsent.pop(0))

    def close(self) -> None:
        """Close the control channel."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = self._update = None
        for each in self._unsent:
            _close_socket(each)
        self._unsent.clear()
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _close_socket(message: Control) -> None:
    """Close the socket of a connection in this process, if the message is about one."""
    if isinstance(message, TransferredConnection):
        message.socket.close()
