"""What systemd has of a service of the type `notify`: a socket that is told how the service stands."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from maritalk_vllm.server.status.sd_notify import VARIABLE


class ServiceManager:
    """Hears what is sent to `address`, which is a path, or a name after an `@`."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0", 1))

    def heard(self) -> list[str]:
        """Every message since the last time."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
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
