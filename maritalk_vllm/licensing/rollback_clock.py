"""A clock that does not run backwards: setting the machine's back does not revive a licence.

Nor does one start with the machine's clock ahead end all licences: a jump is held against them for good only where
another start, a day later by that clock, has confirmed it, or the licence service has.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

MOST_AHEAD = timedelta(days=30)
"""So much of a jump counts without a confirmation."""

_CONFIRMED_AFTER = timedelta(days=1)
_WORTH_NAMING = timedelta(days=1)


def machine_time() -> datetime:
    """The time in UTC by the machine's own clock."""
    return datetime.now(UTC)


class RollbackClock:
    """Remembers the latest time that it was asked at, in a file that is written at each asking."""

    def __init__(self, file: Path, machine: Callable[[], datetime] = machine_time) -> None:
        self._file = file
        self._machine = machine
        self._believed: datetime | None = None
        self.warning = ""
        """The jump of the machine's clock that was seen at the last asking, in a sentence; empty if there was none."""

    def now(self) -> datetime:
        """The time in UTC: the machine's, or the latest that was seen if that is later and can be believed.

        Where the file cannot be written, as in a container that may not write, the machine's own clock has to do.
        """
        if self._believed is not None:
            return self._believed
        time = machine = self._machine()
        self.warning = ""
        seen, ahead = self._read(machine)
        if ahead is not None and ahead - machine > MOST_AHEAD:
            self.warning = (
                f"the machine's clock showed {ahead:%Y-%m-%d} at an earlier start and shows {machine:%Y-%m-%d} now. "
                "The earlier time does not count."
            )
            ahead = None
        elif ahead is not None and machine >= ahead + _CONFIRMED_AFTER:
            seen, ahead = ahead, None
        latest = max((each for each in (seen, ahead) if each is not None), default=None)
        if latest is not None and machine < latest:
            time = latest
            if latest - machine > _WORTH_NAMING:
                self.warning = (
                    f"the machine's clock shows {machine:%Y-%m-%d} and showed {latest:%Y-%m-%d} at an earlier start. "
                    "The later time counts."
                )
        elif ahead is None:
            if seen is not None and machine - seen <= MOST_AHEAD:
                seen = machine
            else:
                # Not confirmed yet: so much time may have passed, or the clock may be wrong.
                ahead = machine
        with contextlib.suppress(OSError):
            self._remember(seen, ahead)
        return time

    def believe(self, time: datetime) -> None:
        """The licence service says that it is this time: neither the machine's nor an earlier one counts any more."""
        self._believed, self.warning = time, ""
        if abs((machine := self._machine()) - time) > _WORTH_NAMING:
            self.warning = (
                f"the machine's clock shows {machine:%Y-%m-%d}, and the licence service says {time:%Y-%m-%d}. "
                "The service's time counts."
            )
        with contextlib.suppress(OSError):
            self._remember(time, None)

    def _read(self, machine: datetime) -> tuple[datetime | None, datetime | None]:
        """The latest time that can be believed, and a later one that nothing has confirmed."""
        try:
            seen, ahead = (_time(line) for line in (*self._file.read_text().split("\n"), "")[:2])
        except (OSError, ValueError, OverflowError):
            return None, None
        if ahead is None and seen is not None and seen - machine > MOST_AHEAD and not self._is_confirmed():
            return None, seen
        return seen, ahead

    def _is_confirmed(self) -> bool:
        """Whether the file is of a version that confirms jumps: it has a second line, if an empty one."""
        return "\n" in self._file.read_text()

    def _remember(self, seen: datetime | None, ahead: datetime | None) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it 0600; renamed, it is whole whoever else writes.
        descriptor, aside = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(str(each.timestamp()) if each is not None else "" for each in (seen, ahead)))
        Path(aside).replace(self._file)


def _time(text: str) -> datetime | None:
    return datetime.fromtimestamp(float(text), UTC) if text else None
