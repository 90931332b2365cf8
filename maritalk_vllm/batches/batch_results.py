"""The results of one batch: which lines are done, and the files that they are written to."""

import asyncio
import time
from collections import deque
from functools import partial

from .batch_records import Batch, Purpose, StoredFile
from .data_folder import DataFolder
from .disk_guard import DiskGuard
from .journal import Journal, OutputLine


class BatchResults:
    """The journals of a batch, which are read when it is opened. `counts`: of completed and failed lines."""

    def __init__(self, batch: Batch, folder: DataFolder, guard: DiskGuard) -> None:
        """Open the journals. Raises OSError. To be called in a thread: it reads what is done."""
        self._batch = batch
        self._guard = guard
        self._output = Journal(folder.content(batch.output_id))
        self._errors = Journal(folder.content(batch.error_id))
        self._done = bytearray(batch.total)
        for index in (*self._output.done, *self._errors.done):
            self._done[index] = True
        self._completed, self._failed = len(self._output.done), len(self._errors.done)
        self._pending: deque[tuple[int, OutputLine, bool]] = deque()
        self._lock = asyncio.Lock()

    @property
    def counts(self) -> tuple[int, int]:
        """Completed and failed lines."""
        return self._completed, self._failed

    @property
    def is_complete(self) -> bool:
        """Whether every line is done."""
        return self._completed + self._failed >= self._batch.total

    def is_done(self, index: int) -> bool:
        """Whether a line is done."""
        return bool(self._done[index])

    async def add(self, index: int, line: OutputLine, *, has_succeeded: bool) -> None:
        """Write a result; only then does its line count. Waits, for as long as necessary, until the disk has room."""
        entry = (index, line, has_succeeded)
        self._pending.append(entry)
        async with self._lock:
            # The holder of the lock writes the results of all waiting tasks: one thread switch for many results.
            while entry in self._pending:
                await self._guard.persist(partial(asyncio.to_thread, self._write_pending))

    def _write_pending(self) -> None:
        while self._pending:
            index, line, has_succeeded = self._pending[0]
            (self._output if has_succeeded else self._errors).append(line)
            self._done[index] = True
            if has_succeeded:
                self._completed += 1
            else:
                self._failed += 1
            self._pending.popleft()

    async def close(self, expires_at: int) -> tuple[StoredFile | None, StoredFile | None]:
        """Flush the results to disk, and return the existing files: output and errors."""
        for each in (self._output, self._errors):
            await self._guard.persist(partial(asyncio.to_thread, each.sync))
        pairs = ((self._output, self._batch.output_id, "output"), (self._errors, self._batch.error_id, "error"))
        files: list[StoredFile | None] = []
        for journal, file_id, kind in pairs:
            journal.close()
            if not journal.size:
                journal.file.unlink(missing_ok=True)
                files.append(None)
                continue
            files.append(
                StoredFile(
                    id=file_id,
                    owner=self._batch.owner,
                    created_at=int(time.time()),
                    expires_at=expires_at,
                    filename=f"{self._batch.id}_{kind}.jsonl",
                    purpose=Purpose.BATCH_OUTPUT,
                    bytes=journal.size,
                )
            )
        return files[0], files[1]
