"""Functions that are called when a client disconnects, so that no request needs a task that waits for it."""

import asyncio
import contextlib
from collections.abc import Callable

DISCONNECT = "maritalk.disconnect"
"""Entry of the ASGI scope with the connection's DisconnectCallbacks. Servers other than ours do not set it."""


class DisconnectCallbacks:
    """The functions to call when one connection ends. Each is called at most once, on the event loop."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []
        self._is_disconnected = False

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client disconnects; in the next iteration of the event loop if it has."""
        if self._is_disconnected:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks.append(callback)

    def remove(self, callback: Callable[[], None]) -> None:
        """Do not call `callback`. No effect after the disconnect."""
        with contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def call(self) -> None:
        """Call all: the client has disconnected."""
        self._is_disconnected = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()
