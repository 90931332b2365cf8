"""The check of the licence in the settings, whichever kind it is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maritalk_vllm.errors import LicenseError
from maritalk_vllm.licensing.entitlement import EVALUATION, EVALUATION_KEY, Entitlement
from maritalk_vllm.licensing.license_check import LicenseCheck
from maritalk_vllm.settings import Settings
from tests.licensing.keys import DAY, Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def settings(keys: Keys, tmp_path: Path, license: str) -> Settings:
    return Settings(license=license, license_public_key=(keys.public,), cache_dir=tmp_path)


def entitlement(settings: Settings) -> Entitlement:
    return LicenseCheck(settings).entitlement


def test_evaluation_key_needs_no_public_key(tmp_path: Path) -> None:
    assert entitlement(Settings(license=EVALUATION_KEY, cache_dir=tmp_path)) == EVALUATION
    assert not list(tmp_path.iterdir())


def test_a_token_and_the_file_that_holds_it(keys: Keys, tmp_path: Path) -> None:
    token = keys.license("small", "demo")
    file = tmp_path / "licence.jwt"
    file.write_text(token + "\n")
    for given in (token, f" {token}\n", str(file)):
        allowed = entitlement(settings(keys, tmp_path, given))
        assert allowed.models == ("small", "demo")
        assert allowed.licensee == "ACME"


def test_the_file_that_holds_the_evaluation_key(tmp_path: Path) -> None:
    file = tmp_path / "license"
    file.write_text(f"{EVALUATION_KEY}\n")
    assert entitlement(Settings(license=str(file), cache_dir=tmp_path)) == EVALUATION


def test_endless_file_is_no_licence(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(LicenseError, match="cannot be checked"):
        entitlement(settings(keys, tmp_path, "/dev/zero"))


def test_alias_is_resolved(keys: Keys, tmp_path: Path) -> None:
    assert entitlement(settings(keys, tmp_path, keys.license("large"))).models == ("medium",)


@pytest.mark.parametrize(
    ("models", "times", "message"),
    [
        (["small"], {"ends": -timedelta(seconds=1)}, "expired"),
        (["small"], {"begins": DAY, "ends": 2 * DAY}, "not valid before"),
        (["huge"], {}, "is for huge, which this version does not know"),
    ],
)
def test_rejected_licences(
    keys: Keys, tmp_path: Path, models: list[str], times: dict[str, timedelta], message: str
) -> None:
    token = keys.license(*models, **times)
    with pytest.raises(LicenseError, match=message) as error:
        entitlement(settings(keys, tmp_path, token))
    assert error.value.exit_code == 3
    assert token not in str(error.value)


def test_clock_set_back_does_not_revive_a_licence(keys: Keys, tmp_path: Path) -> None:
    good = settings(keys, tmp_path, keys.license("small"))
    assert entitlement(good).models == ("small",)
    # The file of a start on the day after tomorrow, before the clock was set back to today.
    (tmp_path / "clock").write_text(str((datetime.now(UTC) + 2 * DAY).timestamp()))
    with pytest.raises(LicenseError, match="expired"):
        entitlement(good)


@pytest.mark.parametrize("given", ["", "AAAAA", "AAAAA-", "AAAAA-B C", "çé", "/etc/hostname", "/", "\0", "~nobody/x"])
def test_invalid_licences(keys: Keys, tmp_path: Path, given: str) -> None:
    with pytest.raises(LicenseError, match="cannot be checked"):
        entitlement(settings(keys, tmp_path, given))
