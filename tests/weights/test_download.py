"""Downloads over an unreliable network and from faulty servers: complete and correct, or a clear error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.weights.download import MAX_STARTS, Download, RetryPolicy
from maritalk_vllm.weights.partial_file import Identity, Link, PartialFile
from tests.answering import Request
from tests.serving import UNREACHABLE_URL
from tests.weights import archives
from tests.weights.file_server import File, serving

QUICK = RetryPolicy(silence=0.5, pauses=(0.01,) * 6)

NEVER_COMPLETED = f"started {MAX_STARTS} times and never completed"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("archive")
    return archives.tar(archives.model(folder / "model", 1_000_000), folder / "archive").read_bytes()


@pytest.fixture
def part(tmp_path: Path) -> PartialFile:
    return PartialFile(tmp_path / "model.download")


def fetch(part: PartialFile, *links: Link) -> list[tuple[str, int, int | None]]:
    """Download, and return the reported progress."""
    progress: list[tuple[str, int, int | None]] = []
    remaining = list(links)
    get_link = lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0]  # noqa: E731
    Download(part, get_link, "the model", lambda *step: progress.append(step), QUICK).run()
    return progress


def expect_error(part: PartialFile, file: File, message: str, **link: object) -> None:
    with serving(file), pytest.raises(WeightsError, match=message):
        fetch(part, Link(file.url, **link))  # type: ignore[arg-type]


def test_whole_file(part: PartialFile, data: bytes) -> None:
    with serving(File(data)) as file:
        progress = fetch(part, Link(file.url))
    assert part.file.read_bytes() == data
    assert file.starts == [0]
    assert {step for step, _, _ in progress} == {"Downloading the model"}
    assert [done for _, done, _ in progress] == sorted(done for _, done, _ in progress)
    assert progress[-1][1:] == (len(data), len(data))


@pytest.mark.parametrize("known", ["etag", "sha256"])
def test_dropped_connection_is_resumed(known: str, part: PartialFile, data: bytes) -> None:
    with serving(File(data, tag=known == "etag", stop_after=lambda start: 150_000)) as file:
        progress = fetch(part, Link(file.url, sha256=file.sha256 if known == "sha256" else None))
    assert part.file.read_bytes() == data
    assert file.starts == [150_000 * n for n in range(len(file.starts))]
    assert any("Trying again" in step for step, _, _ in progress)


def test_download_without_a_validator_starts_over(part: PartialFile, data: bytes) -> None:
    limits = iter([150_000, 300_000])
    with serving(File(data, tag=False, stop_after=lambda start: next(limits, None))) as file:
        fetch(part, Link(file.url))
    assert part.file.read_bytes() == data
    assert file.starts == [0, 0, 0]


def test_server_that_cannot_resume(part: PartialFile, data: bytes) -> None:
    limits = iter([150_000, 300_000])
    with serving(File(data, ranges=False, stop_after=lambda start: next(limits, None))) as file:
        fetch(part, Link(file.url))
    assert part.file.read_bytes() == data


def test_server_that_cannot_resume_and_always_drops(part: PartialFile, data: bytes) -> None:
    expect_error(part, File(data, ranges=False, stop_after=lambda start: 150_000), NEVER_COMPLETED)
    assert not part.file.exists()


def test_server_that_stalls(part: PartialFile, data: bytes) -> None:
    def stall(file: File, request: Request, start: int) -> bool:
        if start == 0:
            request.begin(200, etag=f'"{file.sha256}"', content_length=len(file.data))
            request.wfile.write(file.data[:100_000])
            request.rfile.read(1)  # until the client disconnects
        return start == 0

    with serving(File(data, before=stall)) as file:
        progress = fetch(part, Link(file.url))
    assert part.file.read_bytes() == data
    assert file.starts == [0, 100_000]
    assert any("was silent" in step for step, _, _ in progress)


def test_server_that_is_always_silent(part: PartialFile, data: bytes) -> None:
    def stall(file: File, request: Request, start: int) -> bool:
        request.rfile.read(1)  # until the client disconnects
        return True

    file = File(data, before=stall)
    expect_error(part, file, r"broke off 7 times in a row: its server was silent for 0 s\. 0\.0 GB are here and kept")


def test_unreachable_server(part: PartialFile) -> None:
    with pytest.raises(WeightsError, match="its server cannot be reached"):
        fetch(part, Link(UNREACHABLE_URL))


def test_content_length_that_is_too_large(part: PartialFile, data: bytes) -> None:
    def lie(file: File, request: Request, start: int) -> bool:
        request.begin(200, etag='"x"', content_length=len(file.data) + 1000, connection="close")
        request.wfile.write(file.data)
        return request.close_connection is not None

    expect_error(part, File(data, before=lie), NEVER_COMPLETED)


def test_length_differs_from_the_link(part: PartialFile, data: bytes) -> None:
    expect_error(part, File(data), f"should have 5 bytes, and its server has {len(data):,}", size=5)
    assert not part.file.exists()


def test_without_a_length(part: PartialFile, data: bytes) -> None:
    with serving(File(data, length=False)) as file:
        fetch(part, Link(file.url))
    assert part.file.read_bytes() == data


def test_file_that_changes_once(part: PartialFile, data: bytes) -> None:
    def change(file: File, request: Request, start: int) -> bool:
        if start:
            file.data = data[:600] + bytes(len(data) - 600)
        return False

    with serving(File(data, before=change, stop_after=lambda start: None if start else 150_000)) as file:
        fetch(part, Link(file.url))
        assert part.file.read_bytes() == file.data
    assert file.starts == [0, 0, 150_000]


def test_file_that_always_changes(part: PartialFile, data: bytes) -> None:
    count = 0

    def change(file: File, request: Request, start: int) -> bool:
        nonlocal count
        count += 1
        file.data = data[:-4] + count.to_bytes(4)
        return False

    expect_error(part, File(data, before=change, stop_after=lambda start: 150_000), "changes the file")
    assert not part.file.exists()


def test_partial_file_with_another_hash_is_discarded(part: PartialFile, data: bytes) -> None:
    part.start(Identity(len(data), None, "of another"))
    part.append(b"x" * 1000)
    with serving(File(data)) as file:
        fetch(part, Link(file.url, sha256=file.sha256))
    assert part.file.read_bytes() == data
    assert file.starts == [0]


@pytest.mark.parametrize("answer", ["416", "a part from elsewhere", "a part of another size", "a part of another tag"])
def test_unsuitable_range_responses_start_over(answer: str, part: PartialFile, data: bytes) -> None:
    """The partial file is discarded, and the whole file is downloaded."""

    def other(file: File, request: Request, start: int) -> bool:
        size = len(file.data)
        if not start:
            return False
        if answer == "416":
            request.reply(416, content_range="bytes */3")
        else:
            begin = start + 1 if "elsewhere" in answer else start
            total = size + 1 if "size" in answer else size
            tag = '"other"' if "tag" in answer else f'"{file.sha256}"'
            request.reply(206, file.data[begin:], etag=tag, content_range=f"bytes {begin}-{total - 1}/{total}")
        return True

    limits = iter([150_000])
    with serving(File(data, before=other, stop_after=lambda start: next(limits, None))) as file:
        fetch(part, Link(file.url))
    assert part.file.read_bytes() == data
    assert file.starts == [0, 150_000, 0]


def replying(status: int) -> Callable[[File, Request, int], bool]:
    """Respond to each request with this error status."""

    def reply(file: File, request: Request, start: int) -> bool:
        request.reply(status)
        return True

    return reply


def test_416_for_the_whole_file(part: PartialFile, data: bytes) -> None:
    expect_error(part, File(data, before=replying(416)), "answers 416")


def test_expired_link_is_renewed(part: PartialFile, data: bytes) -> None:
    def expire(file: File, request: Request, start: int) -> bool:
        old = request.path == "/old"
        if start and old:
            request.reply(403)
        return bool(start and old)

    with serving(File(data, before=expire, stop_after=lambda start: None if start else 150_000)) as file:
        old = file.url.replace("archive", "old")
        fetch(part, Link(old), Link(file.url))
    assert part.file.read_bytes() == data
    assert file.starts == [0, 150_000, 150_000]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_link_that_does_not_work(status: int, part: PartialFile, data: bytes) -> None:
    file = File(data, before=replying(status))
    expect_error(part, file, f"answers {status}")
    assert len(file.starts) == 1


def test_busy_server_is_retried(part: PartialFile, data: bytes) -> None:
    answers = iter([503, 429, 500])

    def busy(file: File, request: Request, start: int) -> bool:
        if status := next(answers, None):
            request.reply(status, retry_after=0)
        return bool(status)

    with serving(File(data, before=busy)) as file:
        fetch(part, Link(file.url))
    assert part.file.read_bytes() == data


@pytest.mark.parametrize("head", [b"\x7fELF", b"<html>", b"\x80\x04"])
def test_download_stops_if_it_is_no_archive(head: bytes, part: PartialFile) -> None:
    expect_error(part, File(head + bytes(50_000_000), pause=0.001), "neither a zip nor a tar file")
    assert not part.file.exists()


def test_complete_file_is_not_downloaded_again(part: PartialFile, data: bytes) -> None:
    with serving(File(data)) as file:
        for _ in range(2):
            fetch(part, Link(file.url))
    assert file.starts == [0]


def test_no_space(part: PartialFile, data: bytes) -> None:
    def huge(file: File, request: Request, start: int) -> bool:
        request.begin(200, content_length=10**18)
        return True

    expect_error(part, File(data, before=huge), r"the model needs 2000000000\.0 GB in .*, where .* are free")


def test_damaged_identity_file(part: PartialFile, data: bytes) -> None:
    with serving(File(data)) as file:
        fetch(part, Link(file.url))
        for note in ("", "{}", '{"size": 1}', "[]"):
            part.file.with_name("model.download.json").write_text(note)
            fetch(part, Link(file.url))
            assert part.file.read_bytes() == data
