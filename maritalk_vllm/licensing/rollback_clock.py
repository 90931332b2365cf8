"""A clock that does not run backwards, so that setting the machine's clock back does not revive an expired licence.

A single start with the machine's clock ahead does not expire licences for good, either: a jump forward counts
permanently only once another start, a day later by that clock, or the licence service has confirmed it.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..i18n.message import msg
from ..private_file import replace_private_file

MAX_UNCONFIRMED_JUMP = timedelta(days=30)
"""Largest jump forward that counts without confirmation."""

_CONFIRMED_AFTER = timedelta(days=1)
_WARN_AFTER = timedelta(days=1)


def machine_time() -> datetime:
    """The machine's own time in UTC."""
    return datetime.now(UTC)


class RollbackClock:
    """Keeps the latest time that it returned in a file, which each new reading updates."""

    def __init__(self, file: Path, machine: Callable[[], datetime] = machine_time) -> None:
        self._file = file
        self._machine = machine
        self._trusted_time: datetime | None = None
        self.warning = ""
        """A sentence about the jump of the machine's clock that the last reading found; empty if there was none."""

    def now(self) -> datetime:
        """The time in UTC: the machine's, or the latest recorded time if that is later and trusted.

        If the file cannot be written, as in a read-only container, this is the machine's own time.
        """
        if self._trusted_time is not None:
            return self._trusted_time
        time = machine = self._machine()
        self.warning = ""
        trusted, unconfirmed = self._read(machine)
        if unconfirmed is not None and unconfirmed - machine > MAX_UNCONFIRMED_JUMP:
            self.warning = msg(
                "the machine's clock showed {date} at an earlier start and shows {date2} now. The earlier time does "
                "not count.",
                date=f"{unconfirmed:%Y-%m-%d}",
                date2=f"{machine:%Y-%m-%d}",
            )
            unconfirmed = None
        elif unconfirmed is not None and machine >= unconfirmed + _CONFIRMED_AFTER:
            trusted, unconfirmed = unconfirmed, None
        latest = max((each for each in (trusted, unconfirmed) if each is not None), default=None)
        if latest is not None and machine < latest:
            time = latest
            if latest - machine > _WARN_AFTER:
                self.warning = msg(
                    "the machine's clock shows {date} and showed {date2} at an earlier start. The later time counts.",
                    date=f"{machine:%Y-%m-%d}",
                    date2=f"{latest:%Y-%m-%d}",
                )
        elif unconfirmed is None:
            if trusted is not None and machine - trusted <= MAX_UNCONFIRMED_JUMP:
                trusted = machine
            else:
                # Not confirmed yet: that much time may have passed, or the clock may be wrong.
                unconfirmed = machine
        with contextlib.suppress(OSError):  # not writable: see the docstring
            self._record(trusted, unconfirmed)
        return time

    def set_trusted_time(self, time: datetime) -> None:
        """Use the licence service's time from now on, instead of the machine's and of all recorded times."""
        self._trusted_time, self.warning = time, ""
        if abs((machine := self._machine()) - time) > _WARN_AFTER:
            self.warning = msg(
                "the machine's clock shows {date}, and the licence service says {date2}. The service's time counts.",
                date=f"{machine:%Y-%m-%d}",
                date2=f"{time:%Y-%m-%d}",
            )
        with contextlib.suppress(OSError):  # not writable: it counts for this process alone
            self._record(time, None)

    def _read(self, machine: datetime) -> tuple[datetime | None, datetime | None]:
        """The latest trusted time, and a later unconfirmed one."""
        try:
            trusted, unconfirmed = (_time(line) for line in (*self._file.read_text().split("\n"), "")[:2])
        except (OSError, ValueError, OverflowError):
            return None, None
        if (
            unconfirmed is None
            and trusted is not None
            and trusted - machine > MAX_UNCONFIRMED_JUMP
            and not self._confirms_jumps()
        ):
            return None, trusted
        return trusted, unconfirmed

    def _confirms_jumps(self) -> bool:
        """Whether the file's version confirms jumps: then it has a second line, which may be empty."""
        return "\n" in self._file.read_text()

    def _record(self, trusted: datetime | None, unconfirmed: datetime | None) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lines = (str(each.timestamp()) if each is not None else "" for each in (trusted, unconfirmed))
        replace_private_file(self._file, "\n".join(lines))


def _time(text: str) -> datetime | None:
    return datetime.fromtimestamp(float(text), UTC) if text else None
