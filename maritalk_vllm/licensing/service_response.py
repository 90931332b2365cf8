"""The licence service's response for a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .http_address import parse_http_url


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResponse:
    """The models, the default first, and a link to the weights, with their size in bytes and SHA-256 if given.

    MariTalk Local's own service sends only `presigned_url` and `model_size`.
    """

    models: tuple[str, ...]
    url: str
    licensee: str = ""
    expires: datetime | None = None
    size: int | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "ServiceResponse":
        """Parse the JSON of the response. Raises KeyError, TypeError, ValueError or OverflowError if it is invalid."""
        model, url, expires = content["model_size"], content["presigned_url"], content.get("expires")
        if not isinstance(model, str) or not isinstance(url, str):
            raise ValueError("presigned_url and model_size must be a link and a name")
        parse_http_url(url)
        size, sha256 = content.get("size"), content.get("sha256")
        if size is not None and int(size) < 1:
            raise ValueError("presigned_url and model_size must be a link to something")
        expiry = None if expires is None else datetime.fromisoformat(expires)
        return cls(
            models=tuple(map(str, content.get("models") or [model])),
            url=url,
            licensee=str(content.get("licensee") or ""),
            expires=expiry.replace(tzinfo=expiry.tzinfo or UTC) if expiry else None,
            size=None if size is None else int(size),
            sha256=None if sha256 is None else str(sha256),
        )
