"""GET /files/...: complete and range downloads, and which links are valid."""

import os
from datetime import UTC, datetime

import httpx
import pytest

from maritalk_vllm.tools.license_server import license_keys, weights_archive
from tests.tools.license_server.conftest import SHA256, WEIGHTS
from tests.tools.license_server.running import Running, error

SMALL = WEIGHTS["small"]


@pytest.fixture
def link(service: Running) -> str:
    return service.weights_link(license_keys.add(service.database, ("small",)))


def key_id(link: str) -> int:
    return int(httpx.URL(link).params["key"])


def test_complete_download(service: Running, link: str) -> None:
    answer = service.client.get(link)
    assert answer.content == SMALL
    assert answer.headers["content-length"] == str(len(SMALL))
    assert answer.headers["etag"] == f'"{SHA256["small"]}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "no-store"
    (entry,) = service.last()
    assert (entry.event, entry.key, entry.model, entry.detail) == ("download", key_id(link), "small", "")
    head = service.client.head(link)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(SMALL)))
    assert service.last() == [entry]


@pytest.mark.parametrize(
    ("range", "part"), [("0-0", SMALL[:1]), ("100-199", SMALL[100:200]), ("299990-", SMALL[-10:]), ("-5", SMALL[-5:])]
)
def test_range_download(service: Running, link: str, range: str, part: bytes) -> None:
    for condition in (None, f'"{SHA256["small"]}"'):
        headers = {"Range": f"bytes={range}"} | ({"If-Range": condition} if condition else {})
        answer = service.client.get(link, headers=headers)
        assert (answer.status_code, answer.content) == (206, part)
        assert answer.headers["content-range"].endswith(f"/{len(SMALL)}")
        assert answer.headers["etag"] == f'"{SHA256["small"]}"'
        assert service.last()[0].detail == f"bytes={range}"


def test_stale_if_range_gets_the_complete_file(service: Running, link: str) -> None:
    answer = service.client.get(link, headers={"Range": "bytes=5-", "If-Range": f'"{SHA256["demo"]}"'})
    assert (answer.status_code, answer.content) == (200, SMALL)


def test_range_past_the_end(service: Running, link: str) -> None:
    answer = service.client.get(link, headers={"Range": f"bytes={len(SMALL)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(SMALL)}")


def test_audit_records_only_well_formed_ranges(service: Running, link: str) -> None:
    service.client.get(link, headers={b"Range": b"bytes=\x9b31m"})
    assert service.last()[0].detail == ""


def test_tampered_link(service: Running, link: str) -> None:
    url = httpx.URL(link)
    demo = httpx.URL(service.weights_link(license_keys.add(service.database, ("demo",))))
    signature, expires = url.params["signature"], url.params["expires"]
    flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
    changed = [
        url.copy_merge_params({"signature": flipped}),
        url.copy_merge_params({"signature": signature[:-1]}),
        url.copy_merge_params({"signature": signature.upper()}),
        url.copy_merge_params({"signature": ""}),
        url.copy_merge_params({"signature": "é"}),
        url.copy_merge_params({"expires": str(int(expires) + 1)}),
        url.copy_merge_params({"expires": ""}),
        url.copy_merge_params({"key": demo.params["key"]}),
        url.copy_merge_params({"key": "0" + url.params["key"]}),
        url.copy_with(path=demo.path),
        url.copy_with(path="/files/maritalk"),
        url.copy_with(query=None),
    ]
    for other in changed:
        for method in ("GET", "HEAD"):
            answer = service.client.request(method, other)
            assert answer.status_code == 403, other
            (entry,) = service.last()
            assert (entry.event, entry.key, entry.detail) == (
                "refused",
                None,
                "This link is not whole, or was changed.",
            )
    assert service.client.get(link).status_code == 200


def test_revocation_invalidates_issued_links(service: Running, link: str) -> None:
    license_keys.revoke(service.database, key_id(link))
    for range in ({}, {"Range": "bytes=5-"}):
        answer = service.client.get(link, headers=range)
        assert answer.status_code == 403
        assert f"revoked on {datetime.now(UTC):%Y-%m-%d}" in error(answer)
    assert service.last()[0].key == key_id(link)


def test_changed_or_missing_archive(own_service: Running) -> None:
    link = own_service.weights_link(license_keys.add(own_service.database, ("small",)))
    file = own_service.folder / "small.tar"
    before = file.stat()
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    later = own_service.client.get(link)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert own_service.client.get(link).content == SMALL
    file.write_bytes(SMALL[:-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    shorter = own_service.client.get(link)
    file.unlink()
    for answer in (later, shorter, own_service.client.get(link)):
        assert answer.status_code == 503
        assert "small on this service was changed or moved" in error(answer)
    assert own_service.client.head(link).status_code == 503
    assert own_service.last()[0].model == "small"


def test_replaced_archive_invalidates_old_links(own_service: Running) -> None:
    key = license_keys.add(own_service.database, ("small",))
    link = own_service.weights_link(key)
    other = own_service.folder / "other.tar"
    other.write_bytes(b"other")
    weights_archive.register(own_service.database, weights_archive.read("small", other))
    answer = own_service.client.get(link)
    assert answer.status_code == 404
    assert "new link" in error(answer)
    assert own_service.client.get(own_service.weights_link(key)).content == b"other"
