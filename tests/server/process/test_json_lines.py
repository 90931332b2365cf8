"""What processes print becomes JSON, one object a line."""

import json
import logging
from datetime import datetime
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

from maritalk_vllm.server.process import json_lines
from maritalk_vllm.server.process.json_lines import JsonLines
from maritalk_vllm.settings import LogFormat
from tests.server.process.test_log_file import opened, write

VLLM_FORMAT = "%(asctime)s %(levelname)s %(name)s %(processName)s %(process)d %(message)s"


def test_other_lines_become_objects_and_empty_ones_go() -> None:
    first, second = JsonLines().convert(b"\n  \nFutureWarning: old\xff\n    indented\n").decode().splitlines()
    assert json.loads(first).keys() == {"asctime", "levelname", "name", "process", "message"}
    assert (json.loads(first)["message"], json.loads(first)["levelname"]) == ("FutureWarning: old\ufffd", "INFO")
    assert datetime.fromisoformat(json.loads(first)["asctime"]).tzinfo is not None
    assert json.loads(second)["message"] == "    indented"


def test_an_object_after_a_progress_bar_is_one_of_its_own() -> None:
    record = b'{"asctime": "2026-11-30 18:00:00,123", "levelname": "ERROR", "message": "it failed"}'
    bar, error = JsonLines().convert(b"\rLoading: 50%" + record + b"\n").splitlines()
    assert json.loads(bar)["message"] == "Loading: 50%"
    assert json.loads(error)["levelname"] == "ERROR"


def test_a_long_object_is_not_cut() -> None:
    lines, record = JsonLines(), json.dumps({"message": "x" * 200_000}).encode()
    assert lines.convert(record) == b""
    assert lines.convert(b"\n") == record + b"\n"


def test_a_line_that_is_split_over_reads_is_one_object() -> None:
    lines, data = JsonLines(), b'{"message": "um"}\nLoading: 0%\rLoading: 100%\r\nend'
    found = b"".join(lines.convert(data[at : at + 1]) for at in range(len(data))) + lines.end()
    assert [json.loads(line)["message"] for line in found.splitlines()] == ["um", "Loading: 0%", "Loading: 100%", "end"]
    assert lines.end() == b""


def test_what_only_looks_like_an_object_becomes_one() -> None:
    for text in ("{'a': 1}", '{"a": 1} trailing', '{"a": 1}{"b": 2}'):
        assert json.loads(JsonLines().convert(f"{text}\n".encode()))["message"] == text


def test_a_line_without_end_is_not_kept_forever() -> None:
    lines = JsonLines()
    found = lines.convert(b"x" * (json_lines._MAX_LINE_BYTES + 1))
    assert len(json.loads(found)["message"]) == json_lines._MAX_LINE_BYTES + 1


def test_times_have_a_zone() -> None:
    record = logging.LogRecord("vllm", logging.INFO, __file__, 1, "três", None, None)
    line = JsonFormatter(VLLM_FORMAT).format(record)
    found = json.loads(JsonLines().convert(line.encode() + b"\n"))
    time = datetime.fromisoformat(found["asctime"])
    assert time.tzinfo is not None
    assert abs(time.timestamp() - record.created) < 0.002
    assert {**found, "asctime": ""} == {**json.loads(line), "asctime": ""}


def test_each_line_of_the_file_is_an_object(tmp_path: Path) -> None:
    with opened(tmp_path / "log", LogFormat.JSON, max_bytes=10_000) as log:
        write(log, 1, 2)
        logging.getLogger("maritalk_vllm").warning("own")
    found = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [each["message"] for each in found] == ["0001 of a log", "0002 of a log", "own"]
    assert [each["levelname"] for each in found] == ["INFO", "INFO", "WARNING"]
