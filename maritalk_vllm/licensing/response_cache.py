"""Cache the licence service's last response, for use while the service is down."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..private_file import replace_private_file
from .service_response import ServiceResponse

CACHE_DAYS = 14
"""How many days a cached response remains valid."""


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A response, and when it was received."""

    response: ServiceResponse
    received: datetime

    def days_left(self, now: datetime) -> int:
        """Days of validity left, rounded up; 0 if it has expired."""
        return max(0, -((now - self.received - timedelta(days=CACHE_DAYS)) // timedelta(days=1)))


class ResponseCache:
    """One file per key and service. Neither its name nor its content reveals the key."""

    def __init__(self, folder: Path, key: str, service: str) -> None:
        # Keys have too much entropy to be guessed, so neither a salt nor a slow hash is needed.
        digest = hashlib.sha256(f"{service}\n{key}".encode()).hexdigest()
        self._file = folder / f"{digest[:32]}.json"

    def store(self, response: ServiceResponse, now: datetime) -> None:
        """Store this response, if the folder is writable."""
        # The link is left out: it is valid for an hour, for anyone who has it.
        data = {**asdict(response), "url": "", "expires": response.expires.isoformat() if response.expires else None}
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_private_file(self._file, json.dumps({"given": now.timestamp(), "grant": data}))

    def load(self) -> CachedResponse | None:
        """Load the last response; None if there is none."""
        try:
            content = json.loads(self._file.read_bytes())
            data = content["grant"]
            expires = datetime.fromisoformat(data["expires"]) if data["expires"] else None
            response = ServiceResponse(**{**data, "models": tuple(data["models"]), "expires": expires})
            return CachedResponse(response, datetime.fromtimestamp(content["given"], UTC))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None

    def discard(self) -> None:
        """Delete the response, because the service rejects the key."""
        with suppress(OSError):  # in a folder that is not writable, it was never stored
            self._file.unlink(missing_ok=True)
