"""Malicious servers: each causes one error at once, and fills neither memory nor disk."""

import json
import resource
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.weights.download import Download, RetryPolicy
from maritalk_vllm.weights.partial_file import Link, PartialFile
from tests.answering import Request, answering

NO_RETRY = RetryPolicy(silence=1, pauses=(5,) * 3)
"""A retry would exceed the deadline of these tests."""

HEAD = b"HTTP/1.1 200 OK\r\n"
PAGE = bytes(1 << 16)
TAR = bytes(257) + b"ustar" + bytes(1 << 16)


def fetch(folder: Path, link: Link, max_bytes: int | None = None) -> float:
    """Download, and return the seconds that it takes."""
    start = time.monotonic()
    Download(PartialFile(folder / "part"), lambda: link, "the model", lambda *_: None, NO_RETRY, max_bytes).run()
    return time.monotonic() - start


def raw(*pieces: bytes, again: bytes = b"") -> Callable[[Request], None]:
    """Respond with these bytes, then repeat `again` forever."""

    def send(request: Request) -> None:
        request.close_connection = True
        for piece in pieces:
            request.wfile.write(piece)
        while again:
            request.wfile.write(again)

    return send


def redirecting(location: str, body: bytes = b"") -> Callable[[Request], None]:
    return raw(b"HTTP/1.1 302 Found\r\nlocation: " + location.encode() + b"\r\n\r\n", again=body)


WRONG: dict[str, tuple[Callable[[Request], None], str]] = {
    "redirects to itself": (redirecting("/archive"), "its server redirects more than 10 times"),
    "redirects to a file": (redirecting("file:///etc/passwd"), "its link cannot be used: it begins with file://"),
    "redirects to FTP": (redirecting("ftp://127.0.0.1/x"), "its link cannot be used: it begins with ftp://"),
    "redirects to data": (redirecting("data:,x"), "its link cannot be used: "),
    "redirects to no port": (redirecting("http://127.0.0.1:x/"), "its server does not keep to HTTP"),
    "redirects to port 99999": (redirecting("http://127.0.0.1:99999/"), "there is no port 99999"),
    "redirects to a name that is none": (redirecting("http://xn--zzzz/"), "Invalid A-label"),
    "redirects without end": (redirecting("/archive", PAGE), "its server redirects more than 10 times"),
    "a header without end": (raw(HEAD + b"x: ", again=b"x" * 4096), "does not keep to HTTP"),
    "headers without end": (raw(HEAD, again=b"x: y\r\n" * 512), "does not keep to HTTP"),
    "trailers without end": (
        raw(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", again=b"x: y\r\n" * 512),
        "does not keep to HTTP",
    ),
    "two lengths": (raw(HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n"), "does not keep to HTTP"),
    "a length that is no number": (raw(HEAD + b"content-length: many\r\n\r\n"), "does not keep to HTTP"),
    "a length below zero": (raw(HEAD + b"content-length: -1\r\n\r\n"), "does not keep to HTTP"),
    "a length of 5,000 digits": (raw(HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n"), "does not keep to HTTP"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "does not keep to HTTP"),
    "the encoding of Brotli": (raw(HEAD + b"content-encoding: br\r\n\r\n", PAGE), "in the encoding 'br'"),
    "the encoding deflate": (raw(HEAD + b"content-encoding: deflate\r\n\r\n", PAGE), "in the encoding 'deflate'"),
    "more than was said": (
        raw(HEAD + b"transfer-encoding: chunked\r\n\r\n", again=b"10000\r\n" + TAR[:65536] + b"\r\n"),
        "should have 1,000,000 bytes, and its server sends more",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_malicious_servers(kind: str, tmp_path: Path) -> None:
    answer, message = WRONG[kind]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with answering(answer) as server, pytest.raises(WeightsError, match=message) as error:
        fetch(tmp_path, Link(server.url + "/archive", size=1_000_000))
    assert time.monotonic() - start < 4
    assert (error.value.exit_code, (tmp_path / "part").exists()) == (6, False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


LINKS = (
    "", "x", "http://", "http://:80/", "file:///etc/passwd", "ftp://x/y", "http://x:port/", "http://[::1",
    "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://xn--zzzz/", "http://a\0b/", "http://\ud800/",
    "http://a/" + "b" * 70_000,
)  # fmt: skip


@pytest.mark.parametrize("link", LINKS, ids=lambda link: repr(link)[:30])
def test_invalid_links(link: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the model cannot be fetched: its link cannot be used: "):
        fetch(tmp_path, Link(link))


def test_redirect_from_https_to_http_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone on the path can change an HTTP response, and read its link."""
    import httpx

    def answer(asked: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://127.0.0.1/archive"})

    client = httpx.AsyncClient
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: client(transport=httpx.MockTransport(answer)))
    with pytest.raises(WeightsError, match="redirects from https to http"):
        fetch(tmp_path, Link("https://127.0.0.1/archive"))


def test_endless_interim_responses_time_out(tmp_path: Path) -> None:
    """Each of them is in time, but the headers as a whole time out, and are retried like a silent server."""
    PartialFile(tmp_path / "part")
    quick = RetryPolicy(silence=0.2, pauses=(0.01,))
    with answering(raw(again=b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        link = Link(server.url)
        start = time.monotonic()
        with pytest.raises(WeightsError, match="broke off 2 times in a row: its server was silent"):
            Download(PartialFile(tmp_path / "part"), lambda: link, "the model", lambda *_: None, quick).run()
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_gzip_encoding_is_not_decoded(encoding: str, tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1 << 26), wbits=31)
    with answering(lambda request: request.reply(200, packed, content_encoding=encoding)) as server:
        fetch(tmp_path, Link(server.url))
    assert (tmp_path / "part").read_bytes() == packed


def test_file_without_a_length_is_bounded(tmp_path: Path) -> None:
    with (
        answering(raw(HEAD + b"\r\n", TAR, again=PAGE)) as server,
        pytest.raises(WeightsError, match=r"does not say its size, and sends more than 0\.0 GB"),
    ):
        fetch(tmp_path, Link(server.url), max_bytes=10 << 20)
    assert list(tmp_path.iterdir()) == []


def test_file_without_a_length_leaves_half_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 20 << 20))
    stopped_at: list[int] = []
    part = PartialFile(tmp_path / "part")
    with (
        answering(raw(HEAD + b"\r\n", TAR, again=PAGE)) as server,
        pytest.raises(WeightsError, match="sends more than"),
    ):
        Download(part, lambda: Link(server.url), "the model", lambda _, done, __: stopped_at.append(done)).run()
    assert 9 << 20 < max(stopped_at) <= 10 << 20


def test_length_beyond_the_bound(tmp_path: Path) -> None:
    with (
        answering(lambda request: request.begin(200, content_length=1 << 40)) as server,
        pytest.raises(WeightsError, match=r"has at most 1\.0 GB, and its server would send 1099\.5 GB"),
    ):
        fetch(tmp_path, Link(server.url), max_bytes=10**9)


@pytest.mark.parametrize("header", ["retry-after", "content-range"])
def test_numbers_of_5000_digits(header: str, tmp_path: Path) -> None:
    """Python raises its own error for integers of more than 4,300 digits."""
    part = PartialFile(tmp_path / "part")
    (tmp_path / "part").write_bytes(TAR)
    (tmp_path / "part.json").write_text(json.dumps({"size": None, "validator": '"x"', "sha256": None}))
    digits = b"9" * 5000
    answers = {
        "retry-after": b"HTTP/1.1 503 Busy\r\nretry-after: " + digits + b"\r\ncontent-length: 0\r\n\r\n",
        "content-range": b'HTTP/1.1 206 Part\r\netag: "y"\r\ncontent-range: bytes %d-9/' % len(TAR)
        + digits
        + b"\r\n\r\n",
    }
    quick = RetryPolicy(silence=0.5, pauses=(0.01,))
    with answering(raw(answers[header])) as server, suppress(ConnectionError), pytest.raises(WeightsError):
        Download(part, lambda: Link(server.url), "the model", lambda *_: None, quick).run()
