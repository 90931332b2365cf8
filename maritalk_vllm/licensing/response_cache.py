"""The licence service's last answer, kept for the days on which the service is down."""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .service_response import ServiceResponse

KEPT_DAYS = 14
"""So long does an answer serve without another."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and when it was given."""

    grant: ServiceResponse
    given: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days, counting the one that has begun; 0 when it is over."""
        return max(0, -((now - self.given - timedelta(days=KEPT_DAYS)) // timedelta(days=1)))


class ResponseCache:
    """One file for each key and service. Neither its name nor what is in it tells the key."""

    def __init__(self, folder: Path, key: str, service: str) -> None:
        # A key is drawn from more than can be tried: no salt and no slow hash is needed.
        digest = hashlib.sha256(f"{service}\n{key}".encode()).hexdigest()
        self._file = folder / f"{digest[:32]}.json"

    def keep(self, grant: ServiceResponse, now: datetime) -> None:
        """Remember this answer, if anything can be written there."""
        # Its link is good for an hour, and for whoever has it.
        said = {**asdict(grant), "url": "", "expires": grant.expires.isoformat() if grant.expires else None}
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes it 0600; renamed, it is whole whoever else writes.
            descriptor, aside = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"given": now.timestamp(), "grant": said}, file)
            Path(aside).replace(self._file)

    def recall(self) -> Kept | None:
        """The last answer, if there was one."""
        try:
            content = json.loads(self._file.read_bytes())
            said = content["grant"]
            expires = datetime.fromisoformat(said["expires"]) if said["expires"] else None
            grant = ServiceResponse(**{**said, "models": tuple(said["models"]), "expires": expires})
            return Kept(grant, datetime.fromtimestamp(content["given"], UTC))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None

    def forget(self) -> None:
        """The service has said that the key is good no more."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
