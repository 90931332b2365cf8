"""uvicorn, as each of our processes runs it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from . import limits
from .certificate import Identity
from .protocol import PatientProtocol


class WebServer(uvicorn.Server):
    """A server on a socket that it is given, which leaves the signals to the process that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def config(app: Any, identity: Identity | None = None, **options: Any) -> uvicorn.Config:  # noqa: ANN401
    """For connections of all kinds: slow ones are closed, and no more are taken than there are descriptors for.

    `identity`: what is shown to those who connect, by HTTPS then.
    """
    made = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        limit_concurrency=limits.connections(limits.raise_descriptors()),
        **options,
    )
    if identity is not None:
        # uvicorn makes a context of files alone, and keeps it for good.
        made.load()
        made.ssl = identity.context
    return made
