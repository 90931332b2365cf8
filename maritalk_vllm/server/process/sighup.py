"""SIGHUP: reloads the configuration, or stops the server if its controlling terminal was closed."""

import os
import signal
from types import FrameType


class HangupSignal:
    """Created first at startup: remembers a SIGHUP that arrives before the event loop handles it."""

    def __init__(self) -> None:
        # Under nohup, a closed terminal must not stop the server; without a terminal, none can be closed.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._had_terminal = not ignored and _has_terminal()
        self.received = False
        """Whether a SIGHUP has arrived already."""
        signal.signal(signal.SIGHUP, self._remember)

    def terminal_closed(self) -> bool:
        """Whether the signal that has just arrived means that the controlling terminal was closed."""
        return self._had_terminal and not _has_terminal()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.received = True


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal. The kernel removes it before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
