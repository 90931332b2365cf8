"""The entitlement: what a licence allows."""

from dataclasses import dataclass
from datetime import datetime

from ..i18n.message import Message, joined, msg

EVALUATION_KEY = "000000-00000-00000-00000"
"""The placeholder key of the MariTalk Local document, which allows only the demo model."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The profiles that a licence allows, the default first, and when it expires; None for never.

    `warning` is a sentence for the user, for example if the entitlement may end soon.
    """

    models: tuple[str, ...]
    source: str
    licensee: str = ""
    expires: datetime | None = None
    warning: str = ""

    @property
    def text(self) -> Message:
        """`Valid for small, until 2027-01-31, for Universidade X`."""
        parts = [msg("Valid for {models}", models=", ".join(self.models))]
        if self.expires:
            parts.append(msg("until {expires}", expires=f"{self.expires:%Y-%m-%d}"))
        if self.licensee:
            parts.append(msg("for {licensee}", licensee=self.licensee))
        return joined(", ", parts)


EVALUATION = Entitlement(models=("demo",), source="evaluation")
