"""A stand-in for systemd with a service of `Type=notify`: a socket that receives the service's state."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from maritalk_vllm.server.status.sd_notify import VARIABLE


class ServiceManager:
    """Receives messages at `address`: a path, or a name in the abstract namespace after an `@`.

    A thread reads continuously, as systemd does: the socket's queue is short, and a sender drops what does not fit.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._messages: list[str] = []
        self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while message := self._socket.recv(4096):
            self._messages.append(message.decode())

    def received(self) -> list[str]:
        """Every message since the last call."""
        # The messages sent before this call are in the socket; an empty one after them ends the thread.
        self._end()
        messages, self._messages = self._messages, []
        self._start()
        return messages

    def _end(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", self._socket.getsockname())
        self._thread.join()

    def close(self) -> None:
        self._end()
        self._socket.close()


@contextmanager
def service_manager(address: str) -> Iterator[ServiceManager]:
    """Run a service manager, whose address the processes started meanwhile find in their environment."""
    manager = ServiceManager(address)
    try:
        with patch.dict(os.environ, {VARIABLE: address}):
            yield manager
    finally:
        manager.close()
