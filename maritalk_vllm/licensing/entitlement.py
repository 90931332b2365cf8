"""What a licence allows."""

from dataclasses import dataclass
from datetime import datetime

EVALUATION_KEY = "000000-00000-00000-00000"
"""The placeholder that the MariTalk Local document prints; it entitles to the demo model alone."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The profiles that a licence allows to run, the usual one first, and until when; None is without an end.

    `warning` is for the user, who may lose it soon.
    """

    models: tuple[str, ...]
    source: str
    licensee: str = ""
    expires: datetime | None = None
    warning: str = ""

    def __str__(self) -> str:
        """As people read it: `Valid for small, until 2027-01-31, for Universidade X`."""
        parts = [f"Valid for {', '.join(self.models)}"]
        if self.expires:
            parts.append(f"until {self.expires:%Y-%m-%d}")
        if self.licensee:
            parts.append(f"for {self.licensee}")
        return ", ".join(parts)


EVALUATION = Entitlement(models=("demo",), source="evaluation")
