"""SIGTERM and SIGINT of a program that runs an event loop."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Created before the port opens: remembers a signal that arrives before the event loop handles it.

    Without it, SIGINT raises KeyboardInterrupt anywhere, even in asyncio.run before the first step of its coroutine.
    """

    def __init__(self) -> None:
        self._received: list[signal.Signals] = []
        for number in STOP_SIGNALS:
            signal.signal(number, self._remember)

    def handle(self, handler: Callable[[signal.Signals], None]) -> None:
        """Have the running loop call `handler` for each signal, and call it now for those that have arrived already."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, handler, number)
        for number in self._received:
            handler(number)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received.append(signal.Signals(number))
