"""Messages to systemd for a service of `Type=notify`, as defined in sd_notify(3)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

VARIABLE = "NOTIFY_SOCKET"
_WATCHDOG_MICROSECONDS, _WATCHDOG_PID = "WATCHDOG_USEC", "WATCHDOG_PID"


class SystemdNotifier:
    """Reports the server's state to the service manager that started it; does nothing without a service manager.

    Errors are ignored: the server keeps serving if the service manager has exited, or its socket is full.
    """

    def __init__(self) -> None:
        address = os.environ.get(VARIABLE, "")
        # The abstract namespace: the kernel expects a NUL byte in place of the @.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @property
    def is_enabled(self) -> bool:
        """True if a service manager started this process."""
        return bool(self._address)

    @property
    def watchdog_seconds(self) -> float | None:
        """Interval for `notify_alive`: half of the service's watchdog timeout; None if the watchdog is disabled.

        See sd_watchdog_enabled(3).
        """
        microseconds = os.environ.get(_WATCHDOG_MICROSECONDS, "")
        is_for_us = os.environ.get(_WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
        if not self._address or not is_for_us or not microseconds.isdecimal() or int(microseconds) == 0:
            return None
        return int(microseconds) / 2e6

    def notify_alive(self) -> None:
        """Reset the watchdog: the service works, or is starting."""
        self._send("WATCHDOG=1")

    async def feed_watchdog(self, is_hung: Callable[[], bool]) -> None:
        """Reset the watchdog at its interval while this event loop runs and `is_hung` returns False."""
        while (seconds := self.watchdog_seconds) is not None:
            if not is_hung():
                self.notify_alive()
            await asyncio.sleep(seconds)

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(text))

    def ready(self, text: str) -> None:
        """Report that startup has finished, so that units ordered after this one start."""
        self._send("READY=1", _status(text))

    def stopping(self, text: str) -> None:
        """Report that the service is stopping, by itself or on request."""
        self._send("STOPPING=1", _status(text))

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
            manager.sendto("\n".join(assignments).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
