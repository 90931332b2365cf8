"""Messages to systemd about a service of the type `notify`, as sd_notify(3) defines them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

VARIABLE = "NOTIFY_SOCKET"
_WATCHDOG, _WATCHDOG_PROCESS = "WATCHDOG_USEC", "WATCHDOG_PID"


class SystemdNotifier:
    """Reports the server's state to the service manager that has started it; does nothing without a service manager.

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

    @property
    def alive_seconds(self) -> float | None:
        """How often it wants to hear `alive`: twice in the time after which it kills the service; None if it does not.

        As sd_watchdog_enabled(3) has it.
        """
        microseconds = os.environ.get(_WATCHDOG, "")
        is_ours = os.environ.get(_WATCHDOG_PROCESS, str(os.getpid())) == str(os.getpid())
        if not self._address or not is_ours or not microseconds.isdecimal() or int(microseconds) == 0:
            return None
        return int(microseconds) / 2e6

    def alive(self) -> None:
        """The service works, or is on its way."""
        self._tell("WATCHDOG=1")

    async def watched(self, hangs: Callable[[], bool]) -> None:
        """Say so as often as it is wanted, as long as this loop runs and nothing `hangs`."""
        while (seconds := self.alive_seconds) is not None:
            if not hangs():
                self.alive()
            await asyncio.sleep(seconds)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(_status(text))

    def ready(self, text: str) -> None:
        """What waits for the start of the service goes on now."""
        self._tell("READY=1", _status(text))

    def stopping(self, text: str) -> None:
        """The service ends by itself, or as it was asked to."""
        self._tell("STOPPING=1", _status(text))

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
            manager.sendto("\n".join(assignments).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
