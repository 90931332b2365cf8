"""The service's decisions, independent of HTTP: which key gets a link to which file, and which links are valid."""

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
    """Target of a valid link: an archive with its file status, or without them the launcher."""

    key: int
    archive: WeightsArchive | None = None
    file: os.stat_result | None = None


class LicenseIssuer:
    """Issues links and resolves them. Keys and archives are looked up per request, so that changes apply at once."""

    def __init__(self, database: Database, link_seconds: int) -> None:
        self._database = database
        self._link_seconds = link_seconds
        ((self._secret,),) = database.read("SELECT secret FROM service")

    def issue(self, text: str, preference: Preference, base_url: str, client: str) -> dict[str, object]:
        """The response for the key `text`, with a link that begins with `base_url`. Raises ServiceError."""
        now = datetime.now(UTC)
        key = license_keys.find(self._database, text)
        if key is None:
            raise UnknownKey("This key is unknown here.")
        key.check(now)
        model, name, details = key.models[0], launcher_script.NAME, dict[str, object]()
        if preference.weights:
            model = _allowed_model(key, preference.model)
            archive = weights_archive.of_model(self._database, model)
            if archive is None:
                raise NotHere(f"This service has no weights of {model}.", key=key.id, model=model)
            name, details = archive.name, {"size": archive.size, "sha256": archive.sha256}
        # Rounded up, so that the link is valid for at least `link_seconds`.
        expires = math.ceil(now.timestamp() + self._link_seconds)
        self.record(audit_log.Entry("issued", key.id, model, client, "weights" if preference.weights else "launcher"))
        return {
            "presigned_url": base_url + signed_urls.sign(self._secret, name, key.id, expires),
            "model_size": model,
            "models": key.models,
            "expires": key.expires.isoformat() if key.expires else None,
            "licensee": key.licensee,
            **details,
        }

    def open(self, name: str, query: Mapping[str, str]) -> Delivery:
        """Resolve a link to `name` with this query. Raises ServiceError."""
        now = datetime.now(UTC)
        id = signed_urls.verify(self._secret, name, query, now.timestamp())
        key = license_keys.get(self._database, id)
        if key is None:
            raise Forbidden("The key of this link is no more.")
        key.check(now)
        if name == launcher_script.NAME:
            return Delivery(id)
        archive = weights_archive.named(self._database, name)
        if archive is None:
            raise NotHere("This archive is no longer given out: ask for a new link.", key=id)
        return Delivery(id, archive, archive.check_unchanged())

    def record(self, entry: audit_log.Entry) -> None:
        """Write a row of the audit log."""
        with self._database.write() as connection:
            audit_log.record(connection, entry)


def _allowed_model(key: license_keys.Key, requested: str | None) -> str:
    """The name of the requested model. Raises Forbidden, whose message does not repeat the untrusted input."""
    if requested is None:
        return key.models[0]
    profile = find_profile(requested)
    if profile is None or profile.name not in key.models:
        raise Forbidden(f"This key is for {', '.join(key.models)}, not for the model asked for.", key=key.id)
    return profile.name
