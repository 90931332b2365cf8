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
    with pytest.raises(LicenseError, match=r"^/dev/zero holds no licence"):
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


@pytest.mark.parametrize(
    "given",
    ["", "AAAAA", "AAAAA-", "AAAAA-B C", "çé", "\0", "AAAAA/BBBBB", "AAAAA.BBBBB", ".", "abcde/fghij", "ab1.fghij"],
)
def test_texts_that_are_no_licences(keys: Keys, tmp_path: Path, given: str) -> None:
    with pytest.raises(LicenseError, match=r"neither in groups, as XXXXX-XXXXX-XXXXX-XXXXX, nor") as error:
        entitlement(settings(keys, tmp_path, given))
    assert not given.strip(".\0") or given not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("../missing.txt", "The licence file ../missing.txt does not exist."),
        ("missing.jwt", "The licence file missing.jwt does not exist."),
        ("folder/missing.txt", "The licence file folder/missing.txt does not exist."),
        ("/etc/hostname/x", "The licence file /etc/hostname/x does not exist."),
        ("/", "The licence file / cannot be read: Is a directory."),
    ],
)
def test_files_that_cannot_be_read(keys: Keys, tmp_path: Path, given: str, message: str) -> None:
    with pytest.raises(LicenseError) as error:
        entitlement(settings(keys, tmp_path, given))
    assert error.value.message == message


def test_damaged_files_are_named(keys: Keys, tmp_path: Path) -> None:
    token, file = keys.license("small"), tmp_path / "licence"
    head, claims, signature = token.split(".")
    for content, message in (
        (
            "junk\n",
            f"{file} holds no licence: neither a key in groups, as XXXXX-XXXXX-XXXXX-XXXXX, nor ",
        ),
        (f"{head}.{claims}", f"The licence in {file} is incomplete."),
        (head[:9], f"The licence in {file} is incomplete."),
        (f"{head}.{claims}.", f"{file}: This licence was changed after it was signed, or was signed with another key:"),
        (f"{head}.{claims}.{signature[:-5]}", f"{file}: This licence is incomplete or damaged."),
        (f"{head}.x{claims[2:]}.{signature}", f"{file}: This licence "),
    ):
        file.write_text(content)
        with pytest.raises(LicenseError) as error:
            entitlement(settings(keys, tmp_path, str(file)))
        assert error.value.message.startswith(message)
        assert head not in str(error.value)


def test_incomplete_licence(keys: Keys, tmp_path: Path) -> None:
    token = keys.license("small")
    with pytest.raises(LicenseError) as error:
        entitlement(settings(keys, tmp_path, token.rpartition(".")[0]))
    assert str(error.value) == "This signed licence is incomplete. Copy it again, whole."
