"""Signed licences: valid ones, and every way in which one is invalid."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from maritalk_vllm.errors import LicenseError, UsageError
from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.rendering import localized
from maritalk_vllm.licensing.signed_license import License, looks_like_token, read, sign, verify
from tests.licensing.keys import DAY, NOW, Keys

LICENSE = License(models=("small", "demo"), licensee="ACME", issued=NOW, expires=NOW + DAY, not_before=NOW - DAY)
SECOND = timedelta(seconds=1)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_sign_and_verify(keys: Keys) -> None:
    token = sign(LICENSE, keys.private)
    assert looks_like_token(token)
    assert verify(token, [keys.public]) == read(token) == LICENSE


def test_a_new_key_beside_the_old_one(keys: Keys, tmp_path: Path) -> None:
    new = Keys(tmp_path, "new")
    for signer in (keys, new):
        assert verify(sign(LICENSE, signer.private), [keys.public, new.public]) == LICENSE


def test_wrong_public_key(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(LicenseError, match="signed with another key: the public key given does not fit"):
        verify(sign(LICENSE, Keys(tmp_path, "other").private), [keys.public])
    with pytest.raises(LicenseError, match="signed with another key: none of the 2 public keys"):
        verify(sign(LICENSE, Keys(tmp_path, "other than both").private), [keys.public, Keys(tmp_path, "new").public])


def test_no_public_key(keys: Keys) -> None:
    with pytest.raises(LicenseError, match="--license-public-key"):
        verify(sign(LICENSE, keys.private), [])


def test_changed_after_it_was_signed(keys: Keys) -> None:
    head, _, signature = sign(LICENSE, keys.private).split(".")
    claims = {"models": ["medium"], "sub": "ACME", "iat": 1, "exp": 2**33}
    with pytest.raises(LicenseError, match="changed after it was signed"):
        verify(f"{head}.{part(claims)}.{signature}", [keys.public])


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256"])
def test_another_algorithm(keys: Keys, algorithm: str) -> None:
    _, claims, signature = sign(LICENSE, keys.private).split(".")
    for signed in (signature, ""):
        with pytest.raises(LicenseError, match="not signed with EdDSA"):
            verify(f"{part({'alg': algorithm, 'typ': 'JWT'})}.{claims}.{signed}", [keys.public])


def test_the_public_key_as_a_password(keys: Keys) -> None:
    """A check that trusted the token's own algorithm would accept this."""
    import hashlib
    import hmac

    head, claims = part({"alg": "HS256"}), part({"models": ["medium"], "sub": "x", "iat": 1, "exp": 2**33})
    mac = hmac.new(keys.public.read_bytes(), f"{head}.{claims}".encode(), hashlib.sha256).digest()
    with pytest.raises(LicenseError):
        verify(f"{head}.{claims}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}", [keys.public])


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (NOW, None),
        (LICENSE.expires - SECOND, None),
        (LICENSE.expires, "expired on 2026-11-25 12:00:00 UTC; it is 2026-11-25 12:00:00 UTC"),
        (LICENSE.expires + SECOND, "expired"),
        (NOW - DAY, None),
        (NOW - DAY - SECOND, "not valid before 2026-11-23 12:00:00 UTC"),
    ],
)
def test_validity_period(now: object, message: str | None) -> None:
    if message is None:
        allowed = LICENSE.entitlement(now)  # type: ignore[arg-type]
        assert (allowed.models, allowed.licensee) == (("small", "demo"), "ACME")
        assert allowed.text == "Valid for small, demo, until 2026-11-25, for ACME"
    else:
        with pytest.raises(LicenseError, match=message):
            LICENSE.entitlement(now)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"models": ["small"]},
        {"models": ["small"], "sub": "x", "iat": 1},
        {"models": [], "sub": "x", "iat": 1, "exp": 2},
        {"models": "small", "sub": "x", "iat": 1, "exp": 2},
        {"models": [3], "sub": "x", "iat": 1, "exp": 2},
        {"models": ["small"], "sub": "x", "iat": 1, "exp": "soon"},
        {"models": ["small"], "sub": "x", "iat": 1, "exp": 10**30},
        {"models": ["small"], "sub": "x", "iat": 1, "exp": None},
        {"models": ["small"], "sub": 3, "iat": 1, "exp": 2},
    ],
)
def test_signed_nonsense(keys: Keys, claims: dict[str, object]) -> None:
    key = keys.private.read_bytes()
    with pytest.raises(LicenseError):
        verify(jwt.encode(claims, key, "EdDSA"), [keys.public])


@pytest.mark.parametrize("token", ["", "eyJ..", "eyJhbGciOiJFZERTQSJ9.x.y", "a.b.c", "eyJ\xe9.b.c"])
def test_invalid_tokens(keys: Keys, token: str) -> None:
    checks: list[Callable[[], object]] = [lambda: verify(token, [keys.public]), lambda: read(token)]
    for check in checks:
        with pytest.raises(LicenseError) as error:
            check()
        assert "\n" not in str(error.value)


def test_kind_of_an_invalid_key_is_translated(tmp_path: Path) -> None:
    (file := tmp_path / "text").write_text("no key")
    choose(Language.PORTUGUESE)
    try:
        for check, kind in ((lambda: sign(LICENSE, file), "privada"), (lambda: verify("eyJ..", [file]), "pública")):
            with pytest.raises(UsageError) as error:
                check()
            assert localized(error.value.message) == f"{file} não é uma chave {kind} em PEM."
    finally:
        choose(Language.ENGLISH)


def test_invalid_keys(keys: Keys, tmp_path: Path) -> None:
    token = sign(LICENSE, keys.private)
    text = tmp_path / "text"
    text.write_text("no key")
    for wrong, message in (
        (tmp_path / "absent", "cannot be read"),
        (text, "is no public key"),
        (keys.private, "is no pub"),
    ):
        with pytest.raises(UsageError, match=message):
            verify(token, [wrong])
    with pytest.raises(UsageError, match="is no private key"):
        sign(LICENSE, keys.public)
