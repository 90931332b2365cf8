"""What SIGHUP asks of a server: to read again what can change, or to end where its terminal was closed."""

import os
import signal
from types import FrameType


class HangupSignal:
    """Made at the very beginning of a start: a SIGHUP that comes before anybody listens to it is kept."""

    def __init__(self) -> None:
        # Under nohup the end of a terminal is none of the server's; without one it has nothing to lose.
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._at_terminal = not ignored and _has_terminal()
        self.came = False
        """Whether there was one already."""
        signal.signal(signal.SIGHUP, self._keep)

    def asks_to_end(self) -> bool:
        """Whether the one that has just come is of a terminal that was closed."""
        return self._at_terminal and not _has_terminal()

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.came = True


def _has_terminal() -> bool:
    """Whether this process has a terminal that controls it. The kernel takes it away before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
