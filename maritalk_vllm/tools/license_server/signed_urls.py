"""Links that need no key and expire. They are not stored: an HMAC signature authenticates them."""

import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from .service_errors import Forbidden


def sign(secret: bytes, name: str, key: int, expires: int) -> str:
    """The path of a link to the file `name` for the key with this id, valid until `expires` (Unix seconds)."""
    signature = _signature(secret, name, str(key), str(expires))
    return f"/files/{name}?{urlencode({'key': key, 'expires': expires, 'signature': signature})}"


def verify(secret: bytes, name: str, query: Mapping[str, str], now: float) -> int:
    """Verify a link and return the id of its key. Raises Forbidden if the signature is wrong or the link expired."""
    key, expires, signature = (query.get(part, "") for part in ("key", "expires", "signature"))
    # As bytes: compare_digest rejects strings with characters beyond ASCII.
    if not hmac.compare_digest(signature.encode(), _signature(secret, name, key, expires).encode()):
        raise Forbidden("This link is not whole, or was changed.")
    if now >= int(expires):
        raise Forbidden("The time of this link is over: ask for a new one.", key=int(key))
    return int(key)


def _signature(secret: bytes, *parts: str) -> str:
    # No part contains a line break, so that the joined text is unambiguous.
    return hmac.digest(secret, "\n".join(parts).encode(), "sha256").hex()
