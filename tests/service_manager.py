"""What systemd has of a service of the type `notify`: a socket that is told how the service stands."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from maritalk_vllm.server.status.sd_notify import VARIABLE


class ServiceManager:
    """Receives what is sent to `address`, which is a path, or a name after an `@`.

    It reads all the time, as systemd does: a socket that is not read takes few messages, and the sender drops the rest.
    """

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1))
        self._lock = threading.Lock()
        self._messages: list[str] = []
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while message := self._socket.recv(4096):
            with self._lock:
                self._messages.append(message.decode())

    def heard(self) -> list[str]:
        """Every message since the last time."""
        # What was sent before this call is in the socket: an empty message after it ends the thread's reading.
        self._end()
        messages, self._messages = self._messages, []
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
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
    """One that whoever is started meanwhile finds by its environment."""
    manager = ServiceManager(address)
    try:
        with patch.dict(os.environ, {VARIABLE: address}):
            yield manager
    finally:
        manager.close()
