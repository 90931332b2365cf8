"""What systemd is told of a service of the type `notify`, as sd_notify(3) has it."""

import contextlib
import os
import socket

VARIABLE = "NOTIFY_SOCKET"


class Systemd:
    """Tells whoever started the server as a service how it stands; tells nobody where nobody asked.

    A service manager that is gone, or that takes nothing more, is no reason not to serve.
    """

    def __init__(self) -> None:
        address = os.environ.get(VARIABLE, "")
        # A name without a file, in the kernel's own writing.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @property
    def listens(self) -> bool:
        """Whether a service manager has started this."""
        return bool(self._address)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(_status(text))

    def ready(self, text: str) -> None:
        """What waits for the start of the service goes on now."""
        self._tell("READY=1", _status(text))

    def stopping(self, text: str) -> None:
        """The service ends by itself, or as it was told to."""
        self._tell("STOPPING=1", _status(text))

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
            manager.sendto("\n".join(assignments).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
