"""A clock that does not run backwards."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.licensing.clock import Clock


def test_it_goes_on(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "new" / "clock")
    before = datetime.now(UTC)
    first, second = clock.now(), clock.now()
    assert before <= first <= second <= datetime.now(UTC)
    assert (tmp_path / "new" / "clock").stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_set_back_it_stays(tmp_path: Path) -> None:
    """A file that was written when the machine's clock showed tomorrow."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    (tmp_path / "clock").write_text(str(tomorrow.timestamp()))
    clock = Clock(tmp_path / "clock")
    assert clock.now() == clock.now() == tomorrow


@pytest.mark.parametrize("content", ["", "noon", "inf", "nan", "1e300", "-1e300"])
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "clock").write_text(content)
    assert Clock(tmp_path / "clock").now() - datetime.now(UTC) < timedelta(seconds=1)


def test_where_nothing_can_be_written() -> None:
    assert Clock(Path("/proc/clock")).now() <= datetime.now(UTC)
