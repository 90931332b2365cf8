"""The files and batches of an API process: the stores that its routes use, and its worker."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from ..engine.engine_load import EngineLoad
from ..engine.exception_log import truncated
from ..engine.request_context import context_of
from ..errors import NotOffered
from .batch_database import BatchDatabase, NewerSchema
from .batch_metrics import BatchMetrics
from .batch_run import Resources
from .batch_store import BatchStore
from .batch_worker import BatchWorker
from .data_folder import DataFolder
from .disk_guard import DiskGuard
from .file_store import FileStore
from .line_client import LineClient
from .line_slots import LineSlots
from .token_budget import TokenBudget

_CLOSE_SECONDS = 1.0
_log = logging.getLogger("vllm.maritalk.batches")


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of a data folder."""

    folder: DataFolder
    database: BatchDatabase
    files: FileStore
    batches: BatchStore

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the stores. Raises OSError, sqlite3.Error and NewerSchema if they cannot be used."""
        folder = DataFolder(path)
        folder.prepare()
        database = BatchDatabase(folder.database)
        return cls(folder, database, FileStore(database, folder), BatchStore(database))


class BatchService:
    """The stores in a data folder, and, after `start`, the worker. Call `close` at the end.

    Without a folder it has no stores, and its routes say so.
    """

    def __init__(
        self,
        path: Path | None,
        retention_seconds: Callable[[], int],
        key_bytes: Callable[[], int | None],
    ) -> None:
        """Open the stores in a folder that the server has reserved.

        Files are kept for `retention_seconds`; each key may store `key_bytes` of them, any number with None.

        If it has become unusable, the log reports it, and the server continues without batches.
        """
        self.retention_seconds = retention_seconds
        self.key_bytes = key_bytes
        self._stores: Stores | None = None
        self._worker: BatchWorker | None = None
        self._task: asyncio.Task[None] | None = None
        if path is not None:
            try:
                self._stores = Stores.open(path)
            except (OSError, sqlite3.Error, NewerSchema) as error:
                _log.error("Files and batches are off: %s", error)

    @property
    def stores(self) -> Stores:
        """The stores. Raises NotOffered if there are none."""
        if self._stores is None:
            raise NotOffered(
                "This server keeps no files and batches: it has no folder for them.", "Start it with --data-dir FOLDER."
            )
        return self._stores

    def start(
        self,
        app: ASGIApp,
        load: EngineLoad,
        is_ready: Callable[[], bool],
        is_valid_key: Callable[[str], bool],
        budget: TokenBudget,
        registry: CollectorRegistry,
    ) -> None:
        """Compute batches with `app` while the server `is_ready`.

        Those of a key pause while it is revoked, and while its `budget` has no tokens.
        """
        if (stores := self._stores) is None:
            return
        metrics = BatchMetrics(registry)
        shared = Resources(
            store=stores.batches,
            folder=stores.folder,
            client=LineClient(app),
            slots=LineSlots(lambda owner: is_valid_key(owner) and budget.has_tokens(owner)),
            budget=budget,
            guard=DiskGuard(metrics),
            metrics=metrics,
            validation=asyncio.Semaphore(1),
        )
        self._worker = BatchWorker(shared, stores.files, load, is_ready, self.retention_seconds)
        self._task = asyncio.create_task(self._worker.run())
        self._task.add_done_callback(_log_failure)

    def wake(self) -> None:
        """Have the worker look at a batch that was created or cancelled."""
        if self._worker is not None:
            self._worker.wake()

    def drain(self) -> None:
        """Admit no further line; those in flight continue."""
        if self._worker is not None:
            self._worker.stop()

    async def close(self) -> None:
        """End the worker, and close the stores. Lines in flight are computed again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
        if self._stores is not None:
            self._stores.database.close()


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log why the worker has ended, unless it was to end: that is a bug, or a damaged database."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("Batches have stopped until the next start: %s", truncated(repr(error)))


def attach(app: FastAPI, service: BatchService) -> None:
    """Add the routes to vLLM's application."""
    from . import batch_routes, file_routes

    app.include_router(file_routes.router)
    app.include_router(batch_routes.router)
    app.state.maritalk_batches = service


def service_of(request: Request) -> BatchService:
    """The service that a request is for."""
    service: BatchService = request.app.state.maritalk_batches
    return service


def owner_of(request: Request) -> str:
    """The digest of a request's API key, which owns what it makes; empty without keys."""
    context = context_of(request.scope)
    return "" if context is None else context.key_digest or ""
