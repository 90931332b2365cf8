"""The clock that does not run backwards."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.licensing.rollback_clock import RollbackClock


def test_clock_advances(tmp_path: Path) -> None:
    clock = RollbackClock(tmp_path / "new" / "clock")
    before = datetime.now(UTC)
    first, second = clock.now(), clock.now()
    assert before <= first <= second <= datetime.now(UTC)
    assert (tmp_path / "new" / "clock").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_clock_set_back_returns_the_recorded_time(tmp_path: Path) -> None:
    """The file was written when the machine's clock showed tomorrow."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    (tmp_path / "clock").write_text(str(tomorrow.timestamp()))
    clock = RollbackClock(tmp_path / "clock")
    assert clock.now() == clock.now() == tomorrow


@pytest.mark.parametrize("content", ["", "noon", "inf", "nan", "1e300", "-1e300"])
def test_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "clock").write_text(content)
    assert RollbackClock(tmp_path / "clock").now() - datetime.now(UTC) < timedelta(seconds=1)


def test_unwritable_file() -> None:
    assert RollbackClock(Path("/proc/clock")).now() <= datetime.now(UTC)


class Machine:
    """A machine whose clock the test sets."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.time = datetime(2026, 11, 29, tzinfo=UTC)

    def start(self, **later: float) -> tuple[timedelta, str]:
        """Start after this much time. Returns the clock's offset from the machine's time, and its warning."""
        self.time += timedelta(**later)
        clock = RollbackClock(self.file, lambda: self.time)
        return clock.now() - self.time, clock.warning


NO_OFFSET = (timedelta(0), "")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_unconfirmed_jump_does_not_count_later(machine: Machine, before: int) -> None:
    """Independent of the number of earlier starts, and of starts while the clock is wrong."""
    for _ in range(before):
        assert machine.start(days=1) == NO_OFFSET
    for days in (3650, 0, 0.01):
        assert machine.start(days=days) == NO_OFFSET
    time, warning = machine.start(days=-3649)
    assert time == timedelta(0)
    assert re.fullmatch(r"the machine's clock showed 2036-\d\d-\d\d at an earlier .* 2026-1\d-\d\d now\. .*", warning)
    assert machine.start(hours=1) == NO_OFFSET
    # Times recorded before it still count if the clock is set back.
    if before:
        time, warning = machine.start(days=-20)
        assert time >= timedelta(days=19)
        assert "The later time counts." in warning


def test_confirmed_jump_counts_permanently(machine: Machine) -> None:
    """For example, a server that ran for a year between two starts."""
    assert machine.start() == NO_OFFSET
    assert machine.start(days=400) == NO_OFFSET
    assert machine.start(days=1) == NO_OFFSET
    time, warning = machine.start(days=-300)
    assert time == timedelta(days=300)
    assert "The later time counts." in warning


def test_small_jumps_count_without_confirmation(machine: Machine) -> None:
    assert machine.start() == NO_OFFSET
    assert machine.start(days=29) == NO_OFFSET
    assert machine.start(days=-29)[0] == timedelta(days=29)
    assert machine.start(days=30) == NO_OFFSET


def test_file_of_an_earlier_version_that_is_far_ahead(machine: Machine) -> None:
    machine.file.write_text(str((machine.time + timedelta(days=2000)).timestamp()))
    time, warning = machine.start()
    assert time == timedelta(0)
    assert "showed 2032-" in warning
    assert machine.start(days=1) == NO_OFFSET


@pytest.mark.parametrize("days", [-3000, 3000])
def test_service_time_is_trusted_and_ends_a_jump(machine: Machine, days: float) -> None:
    machine.start()
    true = machine.time + timedelta(days=1)
    machine.start(days=days)
    clock = RollbackClock(machine.file, lambda: machine.time)
    clock.now()
    clock.set_trusted_time(true)
    assert clock.now() == true
    assert "licence service says 2026-11-30" in clock.warning
    machine.time = true
    assert machine.start() == NO_OFFSET
