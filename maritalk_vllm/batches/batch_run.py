"""Computes one batch, from the validation of its input to its output files."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import msgspec

from ..api.cancellation import Cancellation
from ..engine.request_usage import RequestUsage
from .batch_metrics import BatchMetrics
from .batch_records import Batch, BatchStatus, LineError
from .batch_results import BatchResults
from .batch_store import BatchStore
from .data_folder import DataFolder
from .disk_guard import DiskGuard
from .input_line import InputLine, input_lines
from .input_validation import InvalidInput, count_lines
from .journal import LineFailure, OutputLine, line_id
from .line_client import LineAnswer, LineClient
from .line_slots import LineSlots
from .token_budget import LineReservation, TokenBudget

_READ_AHEAD_LINES = 32
_RETRY_SECONDS = 1.0
"""Delay before a line is sent again for which the server had no room."""

_EXPIRED = LineFailure("batch_expired", "This request could not be executed before the completion window expired.")
"""The words of OpenAI's and Maritaca's documents."""

Line = tuple[int, InputLine]


@dataclass(frozen=True, slots=True)
class Resources:
    """Shared by all batches of a server. `validation` admits one batch at a time."""

    store: BatchStore
    folder: DataFolder
    client: LineClient
    slots: LineSlots
    budget: TokenBudget
    guard: DiskGuard
    metrics: BatchMetrics
    validation: asyncio.Semaphore


class BatchRun:
    """One batch, for as long as this process computes it."""

    def __init__(self, batch: Batch, shared: Resources, turn: asyncio.Semaphore, retention_seconds: int) -> None:
        """`turn`: limits the batches of a key that are computed at once.

        The server keeps files for `retention_seconds`.
        """
        self.batch = batch
        self._shared = shared
        self._turn = turn
        self._retention_seconds = retention_seconds
        self._input = shared.folder.content(batch.input_file_id)
        self._results: BatchResults | None = None
        self._computing = Cancellation()
        self._is_cancelled = batch.status is BatchStatus.CANCELLING
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        """The tasks whose lines have no answer yet: these alone can be cancelled without losing a result."""
        self._error: BaseException | None = None
        self._measured_lines = self._measured_tokens = 0
        """The answered lines that used tokens, and those tokens."""

    @property
    def counts(self) -> tuple[int, int]:
        """Completed and failed lines."""
        return (self.batch.completed, self.batch.failed) if self._results is None else self._results.counts

    def cancel(self) -> None:
        """Compute no further line."""
        self._is_cancelled = True
        self._computing.cancel()

    async def run(self) -> None:
        """Bring the batch to its end. Raises what a line fails with that is no answer, which is a bug."""
        if self.batch.status is BatchStatus.VALIDATING and not await self._validate():
            return
        shared, batch = self._shared, self.batch
        results = self._results = await shared.guard.persist(
            partial(asyncio.to_thread, BatchResults, batch, shared.folder, shared.guard)
        )
        try:
            if batch.status is BatchStatus.IN_PROGRESS and not self._is_cancelled:
                await self._compute(results)
        finally:
            await self._end_lines()
        if self._error is not None:
            raise self._error
        await shared.guard.persist(partial(shared.store.finalize, batch.id))
        status = BatchStatus.COMPLETED
        if not self._is_cancelled and not results.is_complete:
            status = BatchStatus.EXPIRED
            async for index, line in self._lines(results):
                await results.add(index, self._result(index, line, error=_EXPIRED), has_succeeded=False)
        seconds = min(self._retention_seconds, batch.output_seconds or self._retention_seconds)
        files = await results.close(int(time.time()) + seconds)
        await shared.guard.persist(partial(shared.store.finish, batch.id, status, results.counts, *files))

    async def _validate(self) -> bool:
        """Whether the input is valid. Records that, or why it is not."""
        shared, batch = self._shared, self.batch
        async with shared.validation:
            try:
                total = await asyncio.to_thread(count_lines, self._input, batch.endpoint)
            except InvalidInput as error:
                errors = error.errors
            except OSError as error:
                errors = [LineError(code="invalid_file", message=f"The input file cannot be read: {error.strerror}.")]
            else:
                await shared.guard.persist(partial(shared.store.begin, batch.id, total))
                self.batch = msgspec.structs.replace(batch, status=BatchStatus.IN_PROGRESS, total=total)
                return True
        await shared.guard.persist(partial(shared.store.fail, batch.id, errors))
        return False

    async def _compute(self, results: BatchResults) -> None:
        """Compute all lines that are not done, unless the batch is cancelled or expires."""
        slots, budget, owner = self._shared.slots, self._shared.budget, self.batch.owner
        seconds_left = max(0.0, self.batch.expires_at - time.time())
        expiry = asyncio.get_running_loop().call_later(seconds_left, self._computing.cancel)
        try:
            with self._computing:
                async with self._turn:
                    async for index, line in self._lines(results):
                        await slots.acquire(owner)
                        reservation = budget.reserve(owner, self._tokens_of_a_line)
                        task = asyncio.create_task(self._answer_line(index, line, results, reservation))
                        self._tasks.add(task)
                        self._sending.add(task)
                        task.add_done_callback(partial(self._on_line_end, reservation))
                # The next batch of the key may begin while the last lines are in flight.
                while self._tasks:
                    await asyncio.wait(self._tasks)
        finally:
            expiry.cancel()

    def _on_line_end(self, reservation: LineReservation, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._sending.discard(task)
        reservation.settle()
        self._shared.slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = error
            self._computing.cancel()

    async def _end_lines(self) -> None:
        """Abort the lines that have no answer yet, and wait until the results of the others are written."""
        tasks = set(self._tasks)
        for each in tuple(self._sending):
            each.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _lines(self, results: BatchResults) -> AsyncIterator[Line]:
        """The lines that are not done. They are read in a thread, a few at a time."""
        unfinished = (line for line in input_lines(self._input) if not results.is_done(line[0]))
        while lines := await asyncio.to_thread(_take, unfinished):
            for each in lines:
                yield each

    @property
    def _tokens_of_a_line(self) -> int | None:
        """The tokens that a line is expected to use: the mean so far. None until there is one."""
        return math.ceil(self._measured_tokens / self._measured_lines) if self._measured_lines else None

    async def _answer_line(
        self, index: int, line: InputLine, results: BatchResults, reservation: LineReservation
    ) -> None:
        answer = await self._answer(line, reservation)
        task = asyncio.current_task()
        assert task is not None
        self._sending.discard(task)
        has_succeeded = 200 <= answer.response.status_code < 300
        result = self._result(index, line, response=answer)
        await results.add(index, result, has_succeeded=has_succeeded)
        outcome = "completed" if has_succeeded else "failed"
        self._shared.metrics.add_line(outcome, self.batch.key_name)

    async def _answer(self, line: InputLine, reservation: LineReservation) -> LineAnswer:
        while not (answer := await self._send(line, reservation)).is_final:
            self._shared.metrics.add_line("retried", self.batch.key_name)
            await asyncio.sleep(_RETRY_SECONDS)
        if reservation.used:
            self._measured_lines += 1
            self._measured_tokens += reservation.used
        return answer

    async def _send(self, line: InputLine, reservation: LineReservation) -> LineAnswer:
        usage = RequestUsage()
        try:
            return await self._shared.client.send(line, self.batch.key_name, usage)
        finally:  # also of an aborted line
            totals = usage.close()
            reservation.used += totals.tokens
            self._shared.metrics.add_tokens(self.batch.key_name, totals)

    def _result(
        self, index: int, line: InputLine, *, response: LineAnswer | None = None, error: LineFailure | None = None
    ) -> OutputLine:
        return OutputLine(
            id=line_id(self.batch.id, index),
            custom_id=line.custom_id,
            response=None if response is None else response.response,
            error=error,
        )


def _take(lines: Iterator[Line]) -> list[Line]:
    return list(islice(lines, _READ_AHEAD_LINES))
