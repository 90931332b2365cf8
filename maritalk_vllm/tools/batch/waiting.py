"""Wait for the end of a batch, also across a restart of its server."""

import time
from collections.abc import Callable

from ...errors import Unavailable
from .batch_client import BatchClient
from .batch_object import Batch

_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.5, 4.0
"""Twice as long each time: a short batch is seen to end at once, and a long one is not asked for all the time."""

_OUTAGE_SECONDS = 900.0
"""How long a server may be unavailable: a restart with a large model takes minutes, and then the batch continues."""


def wait(
    client: BatchClient,
    batch: Batch,
    on_progress: Callable[[Batch], None],
    on_outage: Callable[[Unavailable], None] = lambda _: None,
) -> Batch:
    """Ask for the batch until it has ended, and return it as it is then. Calls `on_progress` with each answer.

    Calls `on_outage` when the server becomes unavailable. Raises Unavailable if it stays so, and what `BatchClient`
    raises.
    """
    last_answer, is_out, pause = time.monotonic(), False, _FIRST_POLL_SECONDS
    while not batch.is_final:
        time.sleep(pause)
        pause = min(2 * pause, _LAST_POLL_SECONDS)
        try:
            batch = client.retrieve(batch.id)
        except Unavailable as error:
            if time.monotonic() > last_answer + _OUTAGE_SECONDS:
                raise
            if not is_out:
                on_outage(error)
            is_out = True
            continue
        last_answer, is_out = time.monotonic(), False
        on_progress(batch)
    return batch
