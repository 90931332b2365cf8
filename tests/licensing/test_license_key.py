"""A licence key in a start: asked of the service, and remembered for when it is down."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.errors import LicenseError
from maritalk_vllm.licensing.entitlement import Entitlement
from maritalk_vllm.licensing.license_check import LicenseCheck
from maritalk_vllm.licensing.license_key import looks_like_key
from maritalk_vllm.licensing.response_cache import KEPT_DAYS
from maritalk_vllm.settings import Settings
from tests.answering import Answering, Request, answering
from tests.licensing.keys import DAY

KEY = "ABCDE-FGHJK-MNPQR-STUVW"


class Office(Answering):
    """A licence service that says what a test wants."""

    said: dict[str, object]
    status: int


@pytest.fixture
def office() -> Iterator[Office]:
    def answer(request: Request) -> None:
        here: Office = request.server  # type: ignore[assignment]
        request.reply(here.status, json.dumps(here.said).encode(), content_type="application/json")

    with answering(answer) as server:
        server.status, server.said = 200, {"presigned_url": "http://x/", "model_size": "small"}  # type: ignore[attr-defined]
        yield server  # type: ignore[misc]


Ask = Callable[[], Entitlement]


@pytest.fixture
def ask(office: Office, tmp_path: Path) -> Ask:
    settings = Settings(license=KEY, license_service=office.url, cache_dir=tmp_path, cuda_version="12.4")
    return lambda: LicenseCheck(settings).entitlement


def turn_clock(folder: Path, forward: timedelta) -> None:
    """As a start at that time would have left it."""
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
def test_its_shape(text: str, is_key: bool) -> None:
    assert looks_like_key(text) == is_key


def test_the_file_that_holds_it(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "license"
    file.write_text(f"{KEY}\n")
    settings = Settings(license=str(file), license_service=office.url, cache_dir=tmp_path, cuda_version="12.4")
    assert LicenseCheck(settings).entitlement.models == ("small",)
    (request,) = office.requests
    assert json.loads(request.content)["license"] == KEY


def test_what_the_service_says_is_asked_once(office: Office, ask: Ask, tmp_path: Path) -> None:
    office.said |= {"models": ["large", "unheard-of"], "licensee": "ACME"}
    check = LicenseCheck(Settings(license=KEY, license_service=office.url, cache_dir=tmp_path, cuda_version="11.8"))
    assert check.entitlement.models == ("medium",)
    assert check.entitlement.licensee == "ACME"
    assert check.brings_weights
    (request,) = office.requests
    assert json.loads(request.content)["cuda_version"] == "11.8"


def test_a_refusal_is_asked_for_once_too(office: Office, tmp_path: Path) -> None:
    office.status, office.said = 401, {"error": "unknown"}
    check = LicenseCheck(Settings(license=KEY, license_service=office.url, cache_dir=tmp_path))
    for _ in range(2):
        with pytest.raises(LicenseError, match="refuses this key: unknown"):
            _ = check.entitlement
    assert len(office.requests) == 1


def test_a_model_that_this_version_does_not_know(office: Office, ask: Ask) -> None:
    office.said["model_size"] = "huge"
    with pytest.raises(LicenseError, match="is for huge, which this version does not know"):
        ask()


def test_its_end(office: Office, ask: Ask) -> None:
    now = datetime.now(UTC)
    office.said["expires"] = (now - timedelta(seconds=1)).isoformat()
    with pytest.raises(LicenseError, match="expired on"):
        ask()
    office.said["expires"] = (now + DAY).isoformat()
    assert ask().expires == now + DAY


def test_the_last_answer_serves_while_the_service_is_down(office: Office, ask: Ask, tmp_path: Path) -> None:
    office.said["expires"] = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    assert ask().warning == ""
    office.status = 503
    kept = ask()
    assert kept.models == ("small",)
    assert f"serves for {KEPT_DAYS} more days" in kept.warning
    turn_clock(tmp_path, timedelta(days=4))
    assert f"serves for {KEPT_DAYS - 4} more days" in ask().warning
    turn_clock(tmp_path, timedelta(days=6))
    with pytest.raises(LicenseError, match="expired on"):
        ask()


def test_the_last_answer_serves_for_a_number_of_days(office: Office, ask: Ask, tmp_path: Path) -> None:
    ask()
    office.status = 500
    turn_clock(tmp_path, timedelta(days=KEPT_DAYS) - timedelta(hours=1))
    assert "serves for 1 more day." in ask().warning
    turn_clock(tmp_path, timedelta(days=KEPT_DAYS))
    with pytest.raises(LicenseError, match=rf"it answers 500\. Its last answer is of .* served for {KEPT_DAYS} days"):
        ask()
    office.status = 200
    assert ask().warning == ""


def test_a_key_that_was_revoked_is_not_remembered(office: Office, ask: Ask) -> None:
    ask()
    said, office.said = office.said, {"error": "revoked"}
    office.status = 403
    with pytest.raises(LicenseError, match="revoked"):
        ask()
    office.status = 500
    with pytest.raises(LicenseError, match="it answers 500"):
        ask()
    office.status, office.said = 200, said
    assert ask().models == ("small",)


def test_what_is_kept_is_for_its_owner_alone_and_tells_no_key(office: Office, ask: Ask, tmp_path: Path) -> None:
    office.said["presigned_url"] = "https://x/?signature=secret"
    ask()
    (file,) = (tmp_path / "licences").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    told = file.name + file.read_text()
    assert not any(part in told for part in (KEY, *KEY.split("-"), "secret"))


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"given": 1e300, "grant": {}}', '{"given": 1, "grant": {"url": 1}}']
)
def test_a_damaged_memory_is_none(content: str, office: Office, ask: Ask, tmp_path: Path) -> None:
    ask()
    (file,) = (tmp_path / "licences").iterdir()
    file.write_text(content)
    office.status = 500
    with pytest.raises(LicenseError, match="it answers 500"):
        ask()


def test_another_key_and_another_service_are_not_remembered(office: Office, ask: Ask, tmp_path: Path) -> None:
    ask()
    office.status = 500
    for given in ({"license": KEY[:-1] + "X"}, {"license_service": office.url + "/"}):
        settings = {"license": KEY, "license_service": office.url, "cache_dir": tmp_path, **given}
        with pytest.raises(LicenseError, match="it answers 500"):
            _ = LicenseCheck(Settings(**settings)).entitlement  # type: ignore[arg-type]


def test_the_service_s_time_is_the_one_that_counts(office: Office, ask: Ask, tmp_path: Path) -> None:
    """Whatever a start with the machine's clock ahead has left."""
    office.said["expires"] = (datetime.now(UTC) + DAY).isoformat()
    (tmp_path / "clock").write_text(f"{(datetime.now(UTC) + 3650 * DAY).timestamp()}\n")
    assert ask().models == ("small",)
    office.status = 503
    assert ask().models == ("small",)


def test_an_answer_that_was_kept_while_the_clock_was_ahead_serves_no_longer_than_others(
    office: Office, ask: Ask, tmp_path: Path
) -> None:
    ask()
    (file,) = (tmp_path / "licences").iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "given": kept["given"] + 10 * 365 * 86_400}))
    office.status = 503
    assert f"serves for {KEPT_DAYS} more days" in ask().warning
    turn_clock(tmp_path, timedelta(days=KEPT_DAYS, hours=1))
    with pytest.raises(LicenseError, match=f"served for {KEPT_DAYS} days"):
        ask()
