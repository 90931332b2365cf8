"""A clock that does not run backwards."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.licensing.rollback_clock import RollbackClock


def test_it_goes_on(tmp_path: Path) -> None:
    clock = RollbackClock(tmp_path / "new" / "clock")
    before = datetime.now(UTC)
    first, second = clock.now(), clock.now()
    assert before <= first <= second <= datetime.now(UTC)
    assert (tmp_path / "new" / "clock").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_set_back_it_stays(tmp_path: Path) -> None:
    """A file that was written when the machine's clock showed tomorrow."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    (tmp_path / "clock").write_text(str(tomorrow.timestamp()))
    clock = RollbackClock(tmp_path / "clock")
    assert clock.now() == clock.now() == tomorrow


@pytest.mark.parametrize("content", ["", "noon", "inf", "nan", "1e300", "-1e300"])
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "clock").write_text(content)
    assert RollbackClock(tmp_path / "clock").now() - datetime.now(UTC) < timedelta(seconds=1)


def test_where_nothing_can_be_written() -> None:
    assert RollbackClock(Path("/proc/clock")).now() <= datetime.now(UTC)


class Machine:
    """A clock that a test sets."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.time = datetime(2026, 11, 29, tzinfo=UTC)

    def start(self, **later: float) -> tuple[timedelta, str]:
        """A start so much later: how far the time that counts is from the machine's, and what is said of it."""
        self.time += timedelta(**later)
        clock = RollbackClock(self.file, lambda: self.time)
        return clock.now() - self.time, clock.warning


NOTHING = (timedelta(0), "")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_one_time_ahead_counts_for_that_time_alone(machine: Machine, before: int) -> None:
    """Whether there were starts before it or none, and however often it is started at once with the clock wrong."""
    for _ in range(before):
        assert machine.start(days=1) == NOTHING
    for days in (3650, 0, 0.01):
        assert machine.start(days=days) == NOTHING
    time, warning = machine.start(days=-3649)
    assert time == timedelta(0)
    assert re.fullmatch(r"the machine's clock showed 2036-\d\d-\d\d at an earlier .* 2026-1\d-\d\d now\. .*", warning)
    assert machine.start(hours=1) == NOTHING
    # And what was there before it still holds against a clock that is set back.
    if before:
        time, warning = machine.start(days=-20)
        assert time >= timedelta(days=19)
        assert "The later time counts." in warning


def test_a_jump_that_a_later_start_confirms_counts_for_good(machine: Machine) -> None:
    """As of a server that ran for a year between two starts."""
    assert machine.start() == NOTHING
    assert machine.start(days=400) == NOTHING
    assert machine.start(days=1) == NOTHING
    time, warning = machine.start(days=-300)
    assert time == timedelta(days=300)
    assert "The later time counts." in warning


def test_a_small_jump_is_bounded(machine: Machine) -> None:
    assert machine.start() == NOTHING
    assert machine.start(days=29) == NOTHING
    assert machine.start(days=-29)[0] == timedelta(days=29)
    assert machine.start(days=30) == NOTHING


def test_a_file_of_an_earlier_version_that_was_far_ahead(machine: Machine) -> None:
    machine.file.write_text(str((machine.time + timedelta(days=2000)).timestamp()))
    time, warning = machine.start()
    assert time == timedelta(0)
    assert "showed 2032-" in warning
    assert machine.start(days=1) == NOTHING


@pytest.mark.parametrize("days", [-3000, 3000])
def test_the_service_s_time_is_believed_and_ends_a_jump(machine: Machine, days: float) -> None:
    machine.start()
    true = machine.time + timedelta(days=1)
    machine.start(days=days)
    clock = RollbackClock(machine.file, lambda: machine.time)
    clock.now()
    clock.believe(true)
    assert clock.now() == true
    assert "licence service says 2026-11-30" in clock.warning
    machine.time = true
    assert machine.start() == NOTHING
