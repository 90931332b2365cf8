"""What the licence that was given allows, whichever kind it is."""

import hmac
from dataclasses import replace

from ..errors import LicenseError
from ..models.profile import find
from ..settings import Settings
from . import token
from .clock import Clock
from .entitlement import EVALUATION, EVALUATION_KEY, Entitlement


def entitlement(settings: Settings) -> Entitlement:
    """What the licence in the settings allows now. Raises LicenseError, without ever repeating the licence."""
    given = (settings.license or "").strip()
    if hmac.compare_digest(given.encode(), EVALUATION_KEY.encode()):
        return EVALUATION
    signed = token.find_token(given)
    if signed is None:
        raise LicenseError(
            "This licence key cannot be checked: it is neither the evaluation key nor a signed licence.",
            f"Use --license {EVALUATION_KEY} for the demo model, a signed licence or the file that holds it, "
            "or --model with a folder of weights, which needs none.",
        )
    clock = Clock(settings.cache_dir / "clock")
    return _known(token.verify(signed, settings.license_public_key).entitlement(clock.now()))


def _known(allowed: Entitlement) -> Entitlement:
    """With the models that this version knows. Raises LicenseError if it knows none of them."""
    known = tuple(profile.name for profile in map(find, allowed.models) if profile is not None)
    if not known:
        raise LicenseError(
            f"This licence is for {', '.join(allowed.models)}, which this version does not know.",
            "Update maritalk-vllm, or ask for another licence.",
        )
    return replace(allowed, models=known)
