"""The worker: computes the batches of a data folder with the engine of this process, as one process of a server."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from ..engine.engine_load import EngineLoad
from ..engine.exception_log import truncated
from .batch_run import BatchRun, Resources
from .file_store import FileStore
from .line_window import LineWindow

BATCHES_PER_KEY = 2
"""Batches of one key that are computed at once: while the last lines of one are in flight, the next begins."""

_TICK_SECONDS = 0.25
_IDLE_SECONDS = 1.0
"""Interval between two looks at the database, with batches and without: another API process may have one created."""

_LOCK_SECONDS = 1.0
_SWEEP_SECONDS = 3600.0
_FAILED_RUN_SECONDS = 30.0

_log = logging.getLogger("vllm.maritalk.batches")


class BatchWorker:
    """Keeps as many lines in flight as the engine has room for. Call `stop` when the server drains."""

    def __init__(
        self,
        shared: Resources,
        files: FileStore,
        load: EngineLoad,
        is_ready: Callable[[], bool],
        retention_seconds: Callable[[], int],
    ) -> None:
        """`is_ready`: whether there is an engine, and new requests are accepted. Files are kept `retention_seconds`."""
        self._shared = shared
        self._files = files
        self._load = load
        self._is_ready = is_ready
        self._window = LineWindow(load.places, is_compute_bound=load.is_compute_bound)
        self._retention_seconds = retention_seconds
        self._runs: dict[str, BatchRun] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(BATCHES_PER_KEY))
        self._shown: dict[str, tuple[int, int]] = {}
        self._failed_at: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._is_stopping = False
        self._next_sweep = 0.0

    def wake(self) -> None:
        """Look at the database at once: a batch has changed."""
        self._woken.set()

    def stop(self) -> None:
        """Admit no further line."""
        self._is_stopping = True
        self._shared.slots.resize(0)

    async def run(self) -> NoReturn:
        """Wait until no other process works, and then work until the task is cancelled."""
        lock = await self._shared.guard.persist(partial(asyncio.to_thread, self._shared.folder.worker_lock))
        try:
            while not lock.acquire():
                await asyncio.sleep(_LOCK_SECONDS)
            while True:
                await self._shared.guard.persist(self._look)
                self._woken.clear()
                seconds = _TICK_SECONDS if self._tasks else _IDLE_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._woken.wait()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            lock.release()

    async def _look(self) -> None:
        """Bring the work in line with the engine and the database, and the database's counts in line with the work."""
        self._resize()  # first: while the database cannot be written, nothing that follows is reached
        if time.monotonic() >= self._next_sweep:
            await self._sweep()
        batches = await self._shared.store.unfinished()
        self._shared.metrics.show(batches)
        for batch in batches:
            if (run := self._runs.get(batch.id)) is None:
                if not self._is_stopping and self._may_begin(batch.id):
                    self._begin(BatchRun(batch, self._shared, self._turns[batch.owner], self._retention_seconds()))
            elif batch.cancelling_at is not None:
                run.cancel()
        for batch_id, run in tuple(self._runs.items()):
            # One may end while the counts of another are recorded.
            if batch_id in self._runs and run.counts != self._shown[batch_id]:
                self._shown[batch_id] = run.counts
                await self._shared.store.count(batch_id, *run.counts)

    def _may_begin(self, batch_id: str) -> bool:
        return time.monotonic() - self._failed_at.get(batch_id, -_FAILED_RUN_SECONDS) >= _FAILED_RUN_SECONDS

    def _begin(self, run: BatchRun) -> None:
        batch_id = run.batch.id
        self._runs[batch_id] = run
        self._shown[batch_id] = run.counts
        task = self._tasks[batch_id] = asyncio.create_task(run.run())
        task.add_done_callback(lambda task: self._on_end(batch_id, task))

    def _on_end(self, batch_id: str, task: asyncio.Task[None]) -> None:
        del self._runs[batch_id], self._tasks[batch_id], self._shown[batch_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug: the batch is resumed from its journals.
            _log.error("Batch %s failed, and is resumed later: %s", batch_id, truncated(repr(error)))
            self._failed_at[batch_id] = time.monotonic()
        self.wake()

    def _resize(self) -> None:
        """Admit as many lines as the engine has room for."""
        slots, load, metrics = self._shared.slots, self._load, self._shared.metrics
        size = 0
        if self._is_ready() and not self._shared.guard.is_full and not self._is_stopping:
            size = self._window.update(load.kv_cache_usage, max(0, load.unfinished - load.lines), slots.used)
        slots.resize(size)
        metrics.window.set(size)
        metrics.waiting_keys.set(sum(not self._shared.budget.has_tokens(owner) for owner in slots.waiting))
        metrics.in_flight.set(slots.used)

    async def _sweep(self) -> None:
        """Delete what is older than the retention time."""
        await self._shared.store.sweep(int(time.time()) - self._retention_seconds())
        await self._files.sweep()
        self._next_sweep = time.monotonic() + _SWEEP_SECONDS
