"""The measured KV cache in the cache folder: kept, found again, and ignored in another format."""

import logging
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from maritalk_vllm.hardware.gpu import Driver
from maritalk_vllm.planning.kv_measurement import KvMeasurement
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.server.startup.kv_record import KvRecord, measured_plan
from maritalk_vllm.settings import Settings
from tests.planning.machines import gpu_plan, hypothetical_machine, open_need

MACHINE = replace(hypothetical_machine("A10"), driver=Driver("580.65.06", (13, 0)))


def plan_again(folder: Path, vllm: str = "0.33.0") -> tuple[Plan, KvRecord]:
    need = open_need(16)
    return measured_plan(gpu_plan(need, MACHINE), need, MACHINE, Settings(cache_dir=folder), vllm)


def test_the_next_plan_uses_the_measurement_of_a_start(tmp_path: Path) -> None:
    before, record = plan_again(tmp_path)
    assert before.measured == ""
    record.store(30000, 4096)
    after, _ = plan_again(tmp_path)
    assert (after.kv_cache_tokens, bool(after.measured)) == (30000, True)
    record.store(29000, 4096)
    assert plan_again(tmp_path)[0].kv_cache_tokens == 29000
    assert plan_again(tmp_path, "0.32.0")[0] == before
    assert [path.suffix for path in (tmp_path / "measured").iterdir()] == [".json"]


def test_a_record_has_its_day(tmp_path: Path) -> None:
    record = KvRecord(tmp_path / "x.json")
    record.store(5, 4)
    assert record.load() == KvMeasurement(tokens=5, max_model_len=4, day=date.today())


GOOD = b'{"tokens": 5, "max_model_len": 4, "day": "2026-11-30"}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:-1],
        GOOD.replace(b"5", b"-5"),
        GOOD.replace(b"4,", b"0,"),
        GOOD.replace(b"5", b'"5"'),
        GOOD.replace(b"-30", b"-31"),
        b"[]",
        b"\xff" * 10,
        b"[" * 4096,
    ],
)
def test_an_invalid_record_is_ignored(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(GOOD)
    assert KvRecord(file).load() is not None
    file.write_bytes(content)
    with caplog.at_level(logging.DEBUG):
        found = KvRecord(file).load()
    assert found is None
    assert f"The measured KV cache in {file} is ignored: " in caplog.text


def test_a_missing_record_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert KvRecord(tmp_path / "x.json").load() is None
        assert KvRecord(None).load() is None
        KvRecord(None).store(5, 4)
        KvRecord(tmp_path / "x.json").store(None, None)
    assert caplog.text == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with caplog.at_level(logging.DEBUG):
        KvRecord(blocked / "x.json").store(5, 4)
    assert "cannot be kept" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
