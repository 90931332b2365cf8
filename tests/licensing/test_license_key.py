"""Licence keys: checked with the service, and cached for when it is down."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.errors import LicenseError
from maritalk_vllm.licensing.entitlement import Entitlement
from maritalk_vllm.licensing.license_check import LicenseCheck
from maritalk_vllm.licensing.license_key import looks_like_key
from maritalk_vllm.licensing.response_cache import CACHE_DAYS
from maritalk_vllm.settings import Settings
from tests.answering import Answering, Request, answering
from tests.licensing.keys import DAY

KEY = "ABCDE-FGHJK-MNPQR-STUVW"


class FakeService(Answering):
    """A licence service whose response a test sets."""

    content: dict[str, object]
    status: int


@pytest.fixture
def service() -> Iterator[FakeService]:
    def answer(request: Request) -> None:
        server: FakeService = request.server  # type: ignore[assignment]
        request.reply(server.status, json.dumps(server.content).encode(), content_type="application/json")

    with answering(answer) as server:
        server.status, server.content = 200, {"presigned_url": "http://x/", "model_size": "small"}  # type: ignore[attr-defined]
        yield server  # type: ignore[misc]


Check = Callable[[], Entitlement]


@pytest.fixture
def check(service: FakeService, tmp_path: Path) -> Check:
    settings = Settings(license=KEY, license_service=service.url, cache_dir=tmp_path, cuda_version="12.4")
    return lambda: LicenseCheck(settings).entitlement


def move_clock(folder: Path, forward: timedelta) -> None:
    """Write the clock file as a start at that time would."""
    (folder / "clock").write_text(str((datetime.now(UTC) + forward).timestamp()))


@pytest.mark.parametrize(
    ("text", "is_key"),
    [
        (KEY, True),
        ("00000-00000-00000-00000", True),
        ("000000-00000-00000-00000", True),
        ("AAAAA-BBBBB", True),
        ("AAAAA", False),
        ("AAAAA-BBBBB-", False),
        ("AAAAA-BBB", False),
        ("AAAAA-BBBBB/CCCCC", False),
        ("ÁAAAA-BBBBB", False),
        ("", False),
    ],
)
def test_looks_like_key(text: str, is_key: bool) -> None:
    assert looks_like_key(text) == is_key


def test_key_in_a_file(service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "license"
    file.write_text(f"{KEY}\n")
    settings = Settings(license=str(file), license_service=service.url, cache_dir=tmp_path, cuda_version="12.4")
    assert LicenseCheck(settings).entitlement.models == ("small",)
    (request,) = service.requests
    assert json.loads(request.content)["license"] == KEY


def test_service_is_asked_once(service: FakeService, tmp_path: Path) -> None:
    service.content |= {"models": ["large", "unheard-of"], "licensee": "ACME"}
    check = LicenseCheck(Settings(license=KEY, license_service=service.url, cache_dir=tmp_path, cuda_version="11.8"))
    assert check.entitlement.models == ("medium",)
    assert check.entitlement.licensee == "ACME"
    assert check.brings_weights
    (request,) = service.requests
    assert json.loads(request.content)["cuda_version"] == "11.8"


def test_rejection_is_requested_once(service: FakeService, tmp_path: Path) -> None:
    service.status, service.content = 401, {"error": "unknown"}
    check = LicenseCheck(Settings(license=KEY, license_service=service.url, cache_dir=tmp_path))
    for _ in range(2):
        with pytest.raises(LicenseError, match="refuses this key: unknown"):
            _ = check.entitlement
    assert len(service.requests) == 1


def test_unknown_model(service: FakeService, check: Check) -> None:
    service.content["model_size"] = "huge"
    with pytest.raises(LicenseError, match="is for huge, which this version does not know"):
        check()


def test_expiry(service: FakeService, check: Check) -> None:
    now = datetime.now(UTC)
    service.content["expires"] = (now - timedelta(seconds=1)).isoformat()
    with pytest.raises(LicenseError, match="expired on"):
        check()
    service.content["expires"] = (now + DAY).isoformat()
    assert check().expires == now + DAY


def test_cached_response_is_used_while_the_service_is_down(service: FakeService, check: Check, tmp_path: Path) -> None:
    service.content["expires"] = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    assert check().warning == ""
    service.status = 503
    cached = check()
    assert cached.models == ("small",)
    assert f"serves for {CACHE_DAYS} more days" in cached.warning
    move_clock(tmp_path, timedelta(days=4))
    assert f"serves for {CACHE_DAYS - 4} more days" in check().warning
    move_clock(tmp_path, timedelta(days=6))
    with pytest.raises(LicenseError, match="expired on"):
        check()


def test_cached_response_expires(service: FakeService, check: Check, tmp_path: Path) -> None:
    check()
    service.status = 500
    move_clock(tmp_path, timedelta(days=CACHE_DAYS) - timedelta(hours=1))
    assert "serves for 1 more day." in check().warning
    move_clock(tmp_path, timedelta(days=CACHE_DAYS))
    with pytest.raises(LicenseError, match=rf"it answers 500\. Its last answer is of .* served for {CACHE_DAYS} days"):
        check()
    service.status = 200
    assert check().warning == ""


def test_revoked_key_is_removed_from_the_cache(service: FakeService, check: Check) -> None:
    check()
    content, service.content = service.content, {"error": "revoked"}
    service.status = 403
    with pytest.raises(LicenseError, match="revoked"):
        check()
    service.status = 500
    with pytest.raises(LicenseError, match="it answers 500"):
        check()
    service.status, service.content = 200, content
    assert check().models == ("small",)


def test_cache_is_private_and_does_not_reveal_the_key(service: FakeService, check: Check, tmp_path: Path) -> None:
    service.content["presigned_url"] = "https://x/?signature=secret"
    check()
    (file,) = (tmp_path / "licences").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    visible = file.name + file.read_text()
    assert not any(part in visible for part in (KEY, *KEY.split("-"), "secret"))


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"given": 1e300, "grant": {}}', '{"given": 1, "grant": {"url": 1}}']
)
def test_damaged_cache_is_ignored(content: str, service: FakeService, check: Check, tmp_path: Path) -> None:
    check()
    (file,) = (tmp_path / "licences").iterdir()
    file.write_text(content)
    service.status = 500
    with pytest.raises(LicenseError, match="it answers 500"):
        check()


def test_cache_is_per_key_and_service(service: FakeService, check: Check, tmp_path: Path) -> None:
    check()
    service.status = 500
    for given in ({"license": KEY[:-1] + "X"}, {"license_service": service.url + "/"}):
        settings = {"license": KEY, "license_service": service.url, "cache_dir": tmp_path, **given}
        with pytest.raises(LicenseError, match="it answers 500"):
            _ = LicenseCheck(Settings(**settings)).entitlement  # type: ignore[arg-type]


def test_service_time_overrides_the_clock(service: FakeService, check: Check, tmp_path: Path) -> None:
    """The service's time also overrides the file of a start with the machine's clock ahead."""
    service.content["expires"] = (datetime.now(UTC) + DAY).isoformat()
    (tmp_path / "clock").write_text(f"{(datetime.now(UTC) + 3650 * DAY).timestamp()}\n")
    assert check().models == ("small",)
    service.status = 503
    assert check().models == ("small",)


def test_response_cached_while_the_clock_was_ahead_expires_in_time(
    service: FakeService, check: Check, tmp_path: Path
) -> None:
    check()
    (file,) = (tmp_path / "licences").iterdir()
    cached = json.loads(file.read_text())
    file.write_text(json.dumps({**cached, "given": cached["given"] + 10 * 365 * 86_400}))
    service.status = 503
    assert f"serves for {CACHE_DAYS} more days" in check().warning
    move_clock(tmp_path, timedelta(days=CACHE_DAYS, hours=1))
    with pytest.raises(LicenseError, match=f"served for {CACHE_DAYS} days"):
        check()
