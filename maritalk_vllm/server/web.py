"""uvicorn, as each of our processes runs it."""

import contextlib
from collections.abc import Iterator

import uvicorn


class WebServer(uvicorn.Server):
    """A server on a socket that it is given, which leaves the signals to the process that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
