"""Links that need no key and are good for a while. Nothing of them is kept: their signature says that they are ours."""

import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from .service_errors import Forbidden


def sign(secret: bytes, name: str, key: int, expires: int) -> str:
    """The path of a link to the file of this name, made for the key of this id, good until `expires` (Unix seconds)."""
    signature = _signature(secret, name, str(key), str(expires))
    return f"/files/{name}?{urlencode({'key': key, 'expires': expires, 'signature': signature})}"


def verify(secret: bytes, name: str, query: Mapping[str, str], now: float) -> int:
    """The id of the key that a link was made for. Raises Forbidden if it is not ours, or its time is over."""
    key, expires, signature = (query.get(part, "") for part in ("key", "expires", "signature"))
    # Of texts with other signs than ASCII, compare_digest takes the bytes alone.
    if not hmac.compare_digest(signature.encode(), _signature(secret, name, key, expires).encode()):
        raise Forbidden("This link is not whole, or was changed.")
    if now >= int(expires):
        raise Forbidden("The time of this link is over: ask for a new one.", key=int(key))
    return int(key)


def _signature(secret: bytes, *parts: str) -> str:
    # No part that we sign holds a line break, so that no other parts make the same lines.
    return hmac.digest(secret, "\n".join(parts).encode(), "sha256").hex()
