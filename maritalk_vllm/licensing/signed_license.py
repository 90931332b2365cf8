"""Signed licences: JSON Web Tokens (RFC 7519) with an Ed25519 signature (RFC 8037), verified offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import LicenseError, UsageError
from ..i18n.message import msg, pluralized
from .entitlement import Entitlement

ALGORITHM = "EdDSA"

_ASK = "Ask for a new licence."


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """The content of a licence, verified or not. Claims: `models`, `sub` (licensee), `iat`, `exp`, optionally `nbf`."""

    models: tuple[str, ...]
    licensee: str
    issued: datetime
    expires: datetime
    not_before: datetime | None = None

    def entitlement(self, now: datetime) -> Entitlement:
        """The current entitlement. Raises LicenseError if it is not valid yet, or has expired."""
        if self.not_before is not None and now < self.not_before:
            raise LicenseError(
                msg(
                    "This licence is not valid before {shown}; it is {now}.",
                    shown=_format_time(self.not_before),
                    now=_format_time(now),
                ),
                _ASK,
            )
        if now >= self.expires:
            raise LicenseError(
                msg(
                    "This licence expired on {expires}; it is {now}.",
                    expires=_format_time(self.expires),
                    now=_format_time(now),
                ),
                _ASK,
            )
        return Entitlement(self.models, "signed licence", self.licensee, self.expires)


def looks_like_token(text: str) -> bool:
    """Whether the text has the three parts of a token, the first of which is a JSON object."""
    return text.count(".") == 2 and text.startswith("eyJ")


def sign(license: License, private_key: Path) -> str:
    """Sign a licence, and return the token. Raises UsageError for a key that cannot be read."""
    import jwt

    claims: dict[str, Any] = {
        "models": list(license.models),
        "sub": license.licensee,
        "iat": license.issued,
        "exp": license.expires,
    }
    if license.not_before is not None:
        claims["nbf"] = license.not_before
    return jwt.encode(claims, _private_key(private_key), ALGORITHM)


def verify(token: str, public_keys: Sequence[Path]) -> License:
    """Decode a token signed with one of these keys. Raises LicenseError, or UsageError for a key."""
    import jwt

    for key in map(_public_key, public_keys):
        try:
            # The times are checked against our own clock, which does not run backwards.
            options = {
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["exp", "iat", "sub"],
            }
            return _license(jwt.decode(token, key, [ALGORITHM], options=options))  # type: ignore[arg-type]
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAlgorithmError:
            raise LicenseError(msg("This licence is not signed with {algorithm}.", algorithm=ALGORITHM), _ASK) from None
        except jwt.DecodeError:
            raise _damaged() from None
        except jwt.InvalidTokenError as error:
            raise LicenseError(msg("This licence is damaged: {error}.", error=error), "Copy it again, whole.") from None
    if not public_keys:
        raise LicenseError(
            "This licence is signed, and no key is known to check it with.",
            "Give the public key that came with it: --license-public-key FILE.",
        )
    raise LicenseError(
        pluralized(
            len(public_keys),
            "This licence was changed after it was signed, or was signed with another key: the public key given does "
            "not fit its signature.",
            "This licence was changed after it was signed, or was signed with another key: none of the {number} public "
            "keys given fits its signature.",
        ),
        "Check --license-public-key, or copy the licence again.",
    )


def read(token: str) -> License:
    """Decode a token without verifying its signature. Raises LicenseError."""
    import jwt

    try:
        return _license(jwt.decode(token, options={"verify_signature": False}))
    except jwt.DecodeError:
        raise _damaged() from None
    except jwt.InvalidTokenError as error:
        raise LicenseError(msg("This is no licence: {error}.", error=error), "Copy it again, whole.") from None


def _damaged() -> LicenseError:
    return LicenseError("This licence is incomplete or damaged.", "Copy it again, whole.")


def _license(claims: dict[str, Any]) -> License:
    models = claims.get("models")
    if not isinstance(models, list) or not models or not all(isinstance(model, str) for model in models):
        raise LicenseError("This licence names no models.", _ASK)
    try:
        return License(
            models=tuple(models),
            licensee=str(claims["sub"]),
            issued=_time(claims["iat"]),
            expires=_time(claims["exp"]),
            not_before=_time(claims["nbf"]) if "nbf" in claims else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise LicenseError(
            msg("This licence is damaged: its times or its licensee cannot be read ({error}).", error=error), _ASK
        ) from None


def _time(seconds: Any) -> datetime:  # noqa: ANN401
    return datetime.fromtimestamp(int(seconds), UTC)


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _public_key(file: Path) -> Any:  # noqa: ANN401
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return _key(file, msg("public"), load_pem_public_key, Ed25519PublicKey)


def _private_key(file: Path) -> Any:  # noqa: ANN401
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return _key(file, msg("private"), lambda data: load_pem_private_key(data, password=None), Ed25519PrivateKey)


def _key(file: Path, kind: str, load: Any, key_class: type) -> Any:  # noqa: ANN401
    hint = "maritalk-vllm license keygen makes a pair."
    try:
        key = load(file.read_bytes())
    except OSError as error:
        raise UsageError(
            msg("The {kind} key {file} cannot be read: {reason}.", kind=kind, file=file, reason=error.strerror),
            hint,
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(msg("{file} is no {kind} key in PEM.", file=file, kind=kind), hint) from error
    if not isinstance(key, key_class):
        raise UsageError(msg("{file} is a {kind} key of another kind than Ed25519.", file=file, kind=kind), hint)
    return key
