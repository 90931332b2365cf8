"""What the header `Prefer` of a request asks for (RFC 7240): `artifact=weights, model=medium`."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preference:
    """Whether the weights are wanted instead of the launcher, and of which model; None is the key's usual one."""

    weights: bool = False
    model: str | None = None

    @classmethod
    def read(cls, headers: Iterable[str]) -> "Preference":
        """From the header's lines; of a preference that comes twice the first one counts, and unknown ones do not."""
        told: dict[str, str] = {}
        for preference in ",".join(headers).split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            told.setdefault(name.strip().lower(), value.strip().strip('"'))
        return cls(told.get("artifact") == "weights", told.get("model") or None)
