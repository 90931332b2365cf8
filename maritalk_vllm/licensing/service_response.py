"""What the licence service answers for a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .http_address import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResponse:
    """The models, the usual one first, and a link to the weights, with their size in bytes and SHA-256 where it says.

    MariTalk Local's own service says `presigned_url` and `model_size` alone.
    """

    models: tuple[str, ...]
    url: str
    licensee: str = ""
    expires: datetime | None = None
    size: int | None = None
    sha256: str | None = None

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> "ServiceResponse":
        """From the answer's JSON. Raises KeyError, TypeError, ValueError or OverflowError where it makes no sense."""
        model, url, expires = answer["model_size"], answer["presigned_url"], answer.get("expires")
        if not isinstance(model, str) or not isinstance(url, str):
            raise ValueError("presigned_url and model_size must be a link and a name")
        checked(url)
        size, sha256 = answer.get("size"), answer.get("sha256")
        if size is not None and int(size) < 1:
            raise ValueError("presigned_url and model_size must be a link to something")
        until = None if expires is None else datetime.fromisoformat(expires)
        return cls(
            models=tuple(map(str, answer.get("models") or [model])),
            url=url,
            licensee=str(answer.get("licensee") or ""),
            expires=until.replace(tzinfo=until.tzinfo or UTC) if until else None,
            size=None if size is None else int(size),
            sha256=None if sha256 is None else str(sha256),
        )
