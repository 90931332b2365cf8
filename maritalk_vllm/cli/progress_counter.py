"""Progress of a benchmark on stderr: a bar on a terminal, else a line every 10 s."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..i18n.rendering import say
from . import standard_streams

if TYPE_CHECKING:
    from rich.progress import Progress

_LINE_SECONDS = 10


class Counter:
    """Context manager that counts the responses of one load, about `total` of them."""

    def __init__(self, load: str, total: int) -> None:
        self._load = load
        self._total = total
        self._done = 0
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        self._last_line = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._load, total=self._total)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def count(self) -> None:
        """Count one response."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif (now := time.monotonic()) >= self._last_line + _LINE_SECONDS:
            self._last_line = now
            line = say("{done} of {total} requests answered", done=self._done, total=self._total)
            standard_streams.note(f"{self._load}: {line}")
