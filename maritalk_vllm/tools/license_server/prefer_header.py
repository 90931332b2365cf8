"""The `Prefer` header of a request (RFC 7240): `artifact=weights, model=medium`."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preference:
    """Whether the client prefers the weights over the launcher, and their model; None is the key's default."""

    weights: bool = False
    model: str | None = None

    @classmethod
    def parse(cls, headers: Iterable[str]) -> "Preference":
        """Parse the header's lines. The first of duplicate preferences counts; unknown ones are ignored."""
        preferences: dict[str, str] = {}
        for preference in ",".join(headers).split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            preferences.setdefault(name.strip().lower(), value.strip().strip('"'))
        return cls(preferences.get("artifact") == "weights", preferences.get("model") or None)
