"""A clock that does not run backwards: setting the machine's back does not revive a licence."""

import contextlib
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path


class Clock:
    """Remembers the latest time that it was asked at, in a file that is written at each asking."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        """The time in UTC: the machine's, or the latest that was seen if that is later.

        Where the file cannot be written, as in a container that may not write, the machine's own clock has to do.
        """
        time = max(datetime.now(UTC), self._seen())
        with contextlib.suppress(OSError):
            self._remember(time)
        return time

    def _seen(self) -> datetime:
        try:
            return datetime.fromtimestamp(float(self._file.read_text()), UTC)
        except (OSError, ValueError, OverflowError):
            return datetime.min.replace(tzinfo=UTC)

    def _remember(self, time: datetime) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it 0600; renamed, it is whole whoever else writes.
        descriptor, aside = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
        with os.fdopen(descriptor, "w") as file:
            file.write(str(time.timestamp()))
        Path(aside).replace(self._file)
