"""What the service decides: who gets a link to what, and which links are good. It knows nothing of HTTP."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ...models.profile import find as find_profile
from . import audit_log, launcher_script, license_keys, signed_urls, weights_archive
from .database import Database
from .prefer_header import Preference
from .service_errors import Forbidden, NotHere, UnknownKey
from .weights_archive import WeightsArchive


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a good link leads to: an archive and its file as it is now, or without them the launcher."""

    key: int
    archive: WeightsArchive | None = None
    file: os.stat_result | None = None


class LicenseIssuer:
    """Keys and archives are looked up at each request, so that what the operator does holds for the next one."""

    def __init__(self, database: Database, link_seconds: int) -> None:
        self._database = database
        self._link_seconds = link_seconds
        ((self._secret,),) = database.read("SELECT secret FROM service")

    def issue(self, text: str, wish: Preference, base: str, client: str) -> dict[str, object]:
        """The answer to the key `text`, with a link that begins with `base`. Raises a Refusal."""
        now = datetime.now(UTC)
        key = license_keys.find(self._database, text)
        if key is None:
            raise UnknownKey("This key is unknown here.")
        key.check(now)
        model, name, about = key.models[0], launcher_script.NAME, dict[str, object]()
        if wish.weights:
            model = _allowed(key, wish.model)
            found = weights_archive.of_model(self._database, model)
            if found is None:
                raise NotHere(f"This service has no weights of {model}.", key=key.id, model=model)
            name, about = found.name, {"size": found.size, "sha256": found.sha256}
        # Rounded up, so that it is good for at least as long as was said.
        expires = math.ceil(now.timestamp() + self._link_seconds)
        self.record(audit_log.Entry("issued", key.id, model, client, "weights" if wish.weights else "launcher"))
        return {
            "presigned_url": base + signed_urls.sign(self._secret, name, key.id, expires),
            "model_size": model,
            "models": key.models,
            "expires": key.expires.isoformat() if key.expires else None,
            "licensee": key.licensee,
            **about,
        }

    def open(self, name: str, query: Mapping[str, str]) -> Delivery:
        """What the link to `name` with this query leads to. Raises a Refusal."""
        now = datetime.now(UTC)
        id = signed_urls.verify(self._secret, name, query, now.timestamp())
        key = license_keys.get(self._database, id)
        if key is None:
            raise Forbidden("The key of this link is no more.")
        key.check(now)
        if name == launcher_script.NAME:
            return Delivery(id)
        found = weights_archive.named(self._database, name)
        if found is None:
            raise NotHere("This archive is no longer given out: ask for a new link.", key=id)
        return Delivery(id, found, found.look())

    def record(self, entry: audit_log.Entry) -> None:
        """Write a row of the audit."""
        with self._database.write() as connection:
            audit_log.record(connection, entry)


def _allowed(key: license_keys.Key, asked: str | None) -> str:
    """The model that is meant. Raises Forbidden, which does not repeat what was asked: it may be anything."""
    if asked is None:
        return key.models[0]
    profile = find_profile(asked)
    if profile is None or profile.name not in key.models:
        raise Forbidden(f"This key is for {', '.join(key.models)}, not for the model asked for.", key=key.id)
    return profile.name
