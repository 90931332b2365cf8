"""Check the licence in the settings, whichever kind it is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from ..errors import LicenseError, MariTalkError
from ..hardware.nvml import cuda_version
from ..i18n.message import msg, pluralized, sentences
from ..models.profile import find
from ..settings import Settings
from . import signed_license
from .entitlement import EVALUATION, EVALUATION_KEY, Entitlement
from .license_input import read_license
from .response_cache import CACHE_DAYS, ResponseCache
from .rollback_clock import RollbackClock
from .service_client import Refused, ServiceClient, Unreachable
from .service_response import ServiceResponse

_ASK = "Ask for a new licence."
_SERVICE = "licence service"


class LicenseCheck:
    """One check of the licence in the settings. It asks the licence service only once, and caches the result.

    No error that it raises contains the licence.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._input = read_license(settings.license or "")
        self.license_text = self._input.text
        """The licence itself, which is a secret: never its file."""
        self._clock = RollbackClock(settings.cache_dir / "clock")

    @property
    def entitlement(self) -> Entitlement:
        """The current entitlement. Raises LicenseError, or UsageError for a public key that cannot be used."""
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
        if self.license_text == EVALUATION_KEY:
            return EVALUATION
        if signed_license.looks_like_token(self.license_text):
            license = self._verified()
            return self._with_clock_warning(lambda: _keep_known_models(license.entitlement(self._clock.now())))
        if self._input.error is not None:
            raise self._input.error
        return self._with_clock_warning(lambda: _keep_known_models(self._ask_service()))

    def _verified(self) -> signed_license.License:
        try:
            return signed_license.verify(self.license_text, self._settings.license_public_key)
        except LicenseError as error:
            raise LicenseError(self._input.named(error.message), error.hint) from error

    def _with_clock_warning(self, check: Callable[[], Entitlement]) -> Entitlement:
        """Call `check`, and add a warning about a jump of the machine's clock to its result or error."""
        try:
            entitlement = check()
        except LicenseError as error:
            if self._clock.warning:
                error.message = msg("{error} Note: {warning}", error=error.message, warning=self._clock.warning)
            raise
        return replace(entitlement, warning=sentences(entitlement.warning, self._clock.warning))

    @property
    def brings_weights(self) -> bool:
        """Whether the licence service also provides the weights."""
        return self.entitlement.source == _SERVICE

    def request_weights(self, model: str) -> ServiceResponse:
        """Ask the service for a new link to the weights of `model`. Raises LicenseError."""
        return self._service.request(self.license_text, model)

    @cached_property
    def _service(self) -> ServiceClient:
        cuda = self._settings.cuda_version or cuda_version()
        return ServiceClient(self._settings.license_service, cuda, self._clock.set_trusted_time)

    def _ask_service(self) -> Entitlement:
        cache = ResponseCache(self._settings.cache_dir / "licences", self.license_text, self._service.url)
        now = self._clock.now()
        try:
            response, warning = self._service.request(self.license_text), ""
            now = self._clock.now()  # now the service's time
            cache.store(response, now)
        except Refused:
            cache.discard()
            raise
        except Unreachable as error:
            response, warning = _from_cache(cache, error, now)
        if response.expires is not None and now >= response.expires:
            raise LicenseError(
                msg(
                    "This licence expired on {expires}; it is {now}.",
                    expires=f"{response.expires:%Y-%m-%d %H:%M %Z}",
                    now=f"{now:%Y-%m-%d}",
                ),
                _ASK,
            )
        return Entitlement(response.models, _SERVICE, response.licensee, response.expires, warning)


def _from_cache(cache: ResponseCache, error: Unreachable, now: datetime) -> tuple[ServiceResponse, str]:
    """The cached response, and a warning that says how long it is valid. Raises Unreachable without a valid one."""
    cached = cache.load()
    if cached is None:
        raise error
    if cached.received > now:
        # It was cached while the clock was ahead: its validity starts now.
        cached = replace(cached, received=now)
        cache.store(cached.response, now)
    days = cached.days_left(now)
    if not days:
        raise Unreachable(
            msg(
                "{message} Its last answer is of {given} and served for {kept_days} days.",
                message=error.message,
                given=f"{cached.received:%Y-%m-%d}",
                kept_days=CACHE_DAYS,
            ),
            error.hint,
        ) from error
    return (
        cached.response,
        msg(
            "{message} Its answer of {given} serves for {days}.",
            message=error.message,
            given=f"{cached.received:%Y-%m-%d}",
            days=pluralized(days, "{number} more day", "{number} more days"),
        ),
    )


def _keep_known_models(entitlement: Entitlement) -> Entitlement:
    """Keep the models that this version knows. Raises LicenseError if it knows none of them."""
    known = tuple(profile.name for profile in map(find, entitlement.models) if profile is not None)
    if not known:
        raise LicenseError(
            msg(
                "This licence is for {models}, which this version does not know.", models=", ".join(entitlement.models)
            ),
            "Update maritalk-vllm, or ask for another licence.",
        )
    return replace(entitlement, models=known)
