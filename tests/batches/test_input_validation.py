"""Which input files make a batch fail, and with which errors."""

from pathlib import Path

import pytest

from maritalk_vllm.batches import input_line, input_validation
from maritalk_vllm.batches.batch_records import LineError
from maritalk_vllm.batches.input_limits import MAX_LINES
from maritalk_vllm.batches.input_line import input_lines
from maritalk_vllm.batches.input_validation import InvalidInput, count_lines
from tests.batches.samples import jsonl, line


def errors_of(folder: Path, content: bytes, endpoint: str = "/generate") -> list[LineError]:
    file = folder / "input"
    file.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        count_lines(file, endpoint)
    return raised.value.errors


def lines(number: int) -> list[object]:
    return [line(f"id-{index}") for index in range(number)]


def test_a_valid_file_is_counted_and_read(tmp_path: Path) -> None:
    """Blank lines and a byte order mark, which editors leave, are no fault."""
    file = tmp_path / "input"
    file.write_bytes(b"\xef\xbb\xbf" + jsonl([*lines(2), "", line("last"), "  "]))
    assert count_lines(file, "/generate") == 3
    read = list(input_lines(file))
    assert [(index, each.custom_id) for index, each in read] == [(0, "id-0"), (1, "id-1"), (2, "last")]
    assert bytes(read[0][1].body) == b'{"prompt": "1 2 3", "max_tokens": 2}'


def test_both_prefixes_lead_to_an_endpoint(tmp_path: Path) -> None:
    file = tmp_path / "input"
    urls = ("/v1/chat/completions", "/api/chat/completions", "/api/v1/chat/completions")
    file.write_bytes(jsonl([line(str(number), url) for number, url in enumerate(urls)]))
    assert count_lines(file, "/v1/chat/completions") == 3


def test_broken_json_is_named_by_its_line(tmp_path: Path) -> None:
    given = lines(20)
    given[16] = '{"custom_id": "x", '
    (error,) = errors_of(tmp_path, jsonl(given))
    assert (error.code, error.line) == ("invalid_json_line", 17)
    assert error.message.startswith("The line is not JSON: ")


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        (line("id-0"), "duplicate_custom_id", "custom_id"),
        (line(""), "invalid_request", "custom_id"),
        (line("x" * 257), "invalid_request", "custom_id"),
        (line("a") | {"method": "GET"}, "invalid_request", "method"),
        (line("a", "/v1/embeddings"), "url_mismatch", "url"),
        (line("a") | {"body": []}, "invalid_request", "body"),
        (line("a") | {"custom_id": 7}, "invalid_request", "custom_id"),
        ({"custom_id": "a"}, "invalid_request", None),
        ("[]", "invalid_request", None),
    ],
)
def test_each_fault_has_its_own_error(tmp_path: Path, given: object, code: str, param: str | None) -> None:
    (error,) = errors_of(tmp_path, jsonl([*lines(2), given]))
    assert (error.code, error.line, error.param) == (code, 3, param)
    assert error.message.endswith((".", ".'"))


def test_text_in_another_encoding_is_no_json(tmp_path: Path) -> None:
    assert errors_of(tmp_path, b'{"custom_id": "\xe9"}\n')[0].code == "invalid_json_line"


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    assert [(each.code, each.line) for each in errors_of(tmp_path, content)] == [("empty_file", None)]


def test_the_number_of_lines_has_a_limit(tmp_path: Path) -> None:
    text = b"".join(b'{"custom_id":"%d","method":"POST","url":"/generate","body":{}}\n' % i for i in range(MAX_LINES))
    file = tmp_path / "input"
    file.write_bytes(text)
    assert count_lines(file, "/generate") == MAX_LINES == 50_000
    (error,) = errors_of(tmp_path, text + jsonl([line("one more")]))
    assert (error.code, error.line) == ("too_many_tasks", None)


def test_a_line_that_is_too_long_is_the_last_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_line, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(input_validation, "MAX_LINE_BYTES", 1000)
    (error,) = errors_of(tmp_path, jsonl([line("a"), line("b", prompt="x" * 2000), "{"]))
    assert (error.code, error.line) == ("invalid_request", 2)
    assert "longer than 1,000 bytes" in error.message


def test_not_every_fault_of_a_large_file_is_listed(tmp_path: Path) -> None:
    assert len(errors_of(tmp_path, b"{\n" * 5000)) == 50
