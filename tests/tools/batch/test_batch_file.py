"""Check of a batch's input file."""

import json
import os
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.tools.batch import batch_file
from maritalk_vllm.tools.batch.batch_file import BatchFile, check

CHAT = "/v1/chat/completions"


def line(custom_id: object = "1", **values: object) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": CHAT, "body": {}, **values}).encode()


def written(folder: Path, *lines: bytes) -> Path:
    file = folder / "requests.jsonl"
    file.write_bytes(b"\n".join(lines))
    return file


def test_a_good_file(tmp_path: Path) -> None:
    """Also with what some editors write: a byte order mark, blank lines. A server may know more keys than we do."""
    for end in (b"", b"\n", b"\r\n\n"):
        file = written(tmp_path, b"\xef\xbb\xbf" + line("a", more=1), b" ", line("ã", method="post") + end)
        assert check(file) == BatchFile(path=file, size_bytes=file.stat().st_size, endpoint=CHAT, requests=2)


def test_the_endpoint_is_that_of_the_first_line_or_the_given_one(tmp_path: Path) -> None:
    file = written(tmp_path, line("a", url="/generate"), line("b", url="/generate"))
    assert check(file).endpoint == check(file, "/generate").endpoint == "/generate"
    with pytest.raises(UsageError, match=r'line 1: url is "/generate", and not /v1/completions\.'):
        check(file, "/v1/completions")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (b'{"custom_id": "2"', "no JSON from column 18 on."),
        (b"\xef\xbb\xbf" + line("2"), "no JSON from column 1 on."),
        (line("2", method=None), "method is null, and not POST."),
        (b'{"custom_id": "\xff"}', "byte 16 is no text in UTF-8."),
        (b"[" * 100_000, "JSON that cannot be read."),
        (b'{"custom_id": ' + b"9" * 5000 + b"}", "JSON that cannot be read."),
        (b"[1]", "no JSON object."),
        (b'{"custom_id": "2", "method": "POST", "body": {}}', "the key url is missing."),
        (line(2), "custom_id is no text, or an empty one."),
        (line(""), "custom_id is no text, or an empty one."),
        (line("2", method="GET"), 'method is "GET", and not POST.'),
        (line("2", url="/v1/embeddings"), f'url is "/v1/embeddings", and not {CHAT}.'),
        (line("2", url=None), "url is no text, or an empty one."),
        (line("2", body=[]), "body is no JSON object."),
        (line("1"), 'custom_id "1" is that of line 1 as well.'),
        (line("x" * 300, method="x" * 300), f'method is "{"x" * 79}..., and not POST.'),
    ],
)
def test_each_problem_is_named_with_its_line(tmp_path: Path, wrong: bytes, problem: str) -> None:
    file = written(tmp_path, line("1"), wrong, line("3"))
    with pytest.raises(UsageError) as error:
        check(file)
    assert error.value.message == f"{file}, line 2: {problem}"
    assert error.value.hint.startswith("Write each line as {")


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_file_without_requests(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"has no request"):
        check(written(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent cannot be read: No such file"):
        check(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory"):
        check(tmp_path)


def test_a_pipe_is_rejected() -> None:
    """It would be empty when it is uploaded, after the check."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb") as pipe:
        pipe.write(line("1"))
        pipe.flush()
        with pytest.raises(UsageError, match="is read twice"):
            check(Path(f"/dev/fd/{reader}"))


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as opened:
        opened.truncate(201_000_000)
    with pytest.raises(UsageError, match=r"sparse has 201\.0 MB: a batch takes at most 200 MB"):
        check(file)


def test_too_many_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_file, "MAX_LINES", 2)
    assert check(written(tmp_path, line("1"), line("2"))).requests == 2
    with pytest.raises(UsageError, match="more than 2 requests"):
        check(written(tmp_path, line("1"), line("2"), line("3")))
