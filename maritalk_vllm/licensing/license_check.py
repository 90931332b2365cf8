"""What the licence that was given allows, whichever kind it is."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from ..errors import LicenseError, MariTalkError
from ..hardware.nvml import cuda_version
from ..models.profile import find
from ..settings import Settings
from ..text_format import pluralize
from . import signed_license
from .entitlement import EVALUATION, EVALUATION_KEY, Entitlement
from .license_input import read_license
from .license_key import looks_like_key
from .response_cache import KEPT_DAYS, ResponseCache
from .rollback_clock import RollbackClock
from .service_client import Refused, ServiceClient, Unreachable
from .service_response import ServiceResponse

_ASK = "Ask for a new licence."


class LicenseCheck:
    """One look at the licence in the settings: the licence service is asked once, however often the answer is needed.

    No error that it raises repeats the licence.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._given = read_license(settings.license or "")
        self._clock = RollbackClock(settings.cache_dir / "clock")

    @property
    def entitlement(self) -> Entitlement:
        """What it allows now. Raises LicenseError, or UsageError for what it is to be checked with."""
        if isinstance(self._outcome, MariTalkError):
            raise self._outcome
        return self._outcome

    @cached_property
    def _outcome(self) -> Entitlement | MariTalkError:
        try:
            return self._entitlement()
        except MariTalkError as error:
            return error

    def _entitlement(self) -> Entitlement:
        if hmac.compare_digest(self._given.encode(), EVALUATION_KEY.encode()):
            return EVALUATION
        if signed_license.looks_like_token(self._given):
            license = signed_license.verify(self._given, self._settings.license_public_key)
            return self._jumped(lambda: _known(license.entitlement(self._clock.now())))
        if looks_like_key(self._given):
            return self._jumped(lambda: _known(self._asked()))
        raise LicenseError(
            "This licence key cannot be checked: it is neither in groups, as XXXXX-XXXXX-XXXXX, nor a signed licence.",
            f"Use --license {EVALUATION_KEY} for the demo model, a licence or the file that holds it, "
            "or --model with a folder of weights, which needs none.",
        )

    def _jumped(self, allowed: Callable[[], Entitlement]) -> Entitlement:
        """The same, or the same error, with a word on a jump of the machine's clock."""
        try:
            entitlement = allowed()
        except LicenseError as error:
            if self._clock.warning:
                error.message = f"{error.message} Note: {self._clock.warning}"
            raise
        return replace(entitlement, warning=f"{entitlement.warning} {self._clock.warning}".strip())

    @property
    def brings_weights(self) -> bool:
        """Whether the licence service has the weights too."""
        return self.entitlement.source == _SERVICE

    def grant(self, model: str) -> ServiceResponse:
        """The service's answer with a new link to the weights of `model`. Raises LicenseError."""
        return self._service.ask(self._given, model)

    @cached_property
    def _service(self) -> ServiceClient:
        cuda = self._settings.cuda_version or cuda_version()
        return ServiceClient(self._settings.license_service, cuda, self._clock.believe)

    def _asked(self) -> Entitlement:
        memory = ResponseCache(self._settings.cache_dir / "licences", self._given, self._service.url)
        now = self._clock.now()
        try:
            grant, warning = self._service.ask(self._given), ""
            now = self._clock.now()  # as the service has said
            memory.keep(grant, now)
        except Refused:
            memory.forget()
            raise
        except Unreachable as error:
            grant, warning = _remembered(memory, error, now)
        if grant.expires is not None and now >= grant.expires:
            raise LicenseError(
                f"This licence expired on {grant.expires:%Y-%m-%d %H:%M %Z}; it is {now:%Y-%m-%d}.", _ASK
            )
        return Entitlement(grant.models, _SERVICE, grant.licensee, grant.expires, warning)


_SERVICE = "licence service"


def _remembered(memory: ResponseCache, error: Unreachable, now: datetime) -> tuple[ServiceResponse, str]:
    """The service's last answer while it may serve, and a warning that says how long. Raises the error after that."""
    kept = memory.recall()
    if kept is None:
        raise error
    if kept.given > now:
        # It was given while the clock was ahead: its days begin now.
        kept = replace(kept, given=now)
        memory.keep(kept.grant, now)
    days = kept.days_left(now)
    if not days:
        raise Unreachable(
            f"{error.message} Its last answer is of {kept.given:%Y-%m-%d} and served for {KEPT_DAYS} days.", error.hint
        ) from error
    return kept.grant, f"{error.message} Its answer of {kept.given:%Y-%m-%d} serves for {pluralize(days, 'more day')}."


def _known(allowed: Entitlement) -> Entitlement:
    """With the models that this version knows. Raises LicenseError if it knows none of them."""
    known = tuple(profile.name for profile in map(find, allowed.models) if profile is not None)
    if not known:
        raise LicenseError(
            f"This licence is for {', '.join(allowed.models)}, which this version does not know.",
            "Update maritalk-vllm, or ask for another licence.",
        )
    return replace(allowed, models=known)
