"""A progress bar on stderr if that is a terminal; nothing otherwise."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..i18n.rendering import localized

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar:
    """Context manager that shows the progress of one task, in bytes or, with `in_bytes` false, in requests."""

    def __init__(self, title: str, *, in_bytes: bool) -> None:
        self._title = title
        self._in_bytes = in_bytes
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            amount = DownloadColumn() if self._in_bytes else MofNCompleteColumn()
            columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(localized(self._title), total=None)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int | None, title: str | None = None) -> None:
        """Show `done` of `total`, which is None while it is unknown, and the new title if there is one."""
        if self._bar is not None:
            description = None if title is None else localized(title)
            self._bar.update(self._task, completed=done, total=total, description=description)
