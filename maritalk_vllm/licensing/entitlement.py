"""What a licence key allows."""

import hmac
from dataclasses import dataclass

from ..errors import LicenseError

EVALUATION_KEY = "000000-00000-00000-00000"
"""The placeholder that the MariTalk Local document prints; it entitles to the demo model alone."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The profiles that a key may run, the usual one first."""

    models: tuple[str, ...]
    source: str


def entitlement(key: str) -> Entitlement:
    """What `key` allows. Raises LicenseError for a key that nothing here can check."""
    if hmac.compare_digest(key.encode(), EVALUATION_KEY.encode()):
        return Entitlement(models=("demo",), source="evaluation")
    raise LicenseError(
        "This licence key cannot be checked: this version knows the evaluation key alone.",
        f"Use --license {EVALUATION_KEY} for the demo model, or --model with a folder of weights, which needs no key.",
    )
