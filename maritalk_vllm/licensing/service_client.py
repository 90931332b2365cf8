"""Client of the licence service, with the protocol of MariTalk Local's download: POST <service>/local/download."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import LicenseError, UsageError
from ..i18n.message import msg
from ..masking import masked
from ..models.catalogue import RECOMMENDED
from ..settings import MARITALK_LOCAL_SERVICE
from .http_address import connection_failure, parse_http_url
from .service_response import ServiceResponse

RESPONSE_SECONDS = 15
"""Timeout from the first byte sent to the last byte received."""

_MAX_RESPONSE_BYTES = 64 * 1024
_MAX_REASON_LENGTH = 200


class Refused(LicenseError):
    """The service rejects the key."""


class Unreachable(LicenseError):
    """The service is unavailable: it is down, silent, or another server answers at its address."""

    exit_code = 10


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A licence service, and the CUDA version of this machine to send to it (None without CUDA)."""

    url: str
    cuda_version: str | None
    on_service_time: Callable[[datetime], None] = field(default=lambda time: None, compare=False)
    """Called with the time in the Date header of the service's own responses."""

    @property
    def _display_url(self) -> str:
        """The address for display, without a password."""
        return masked(self.url)

    def request(self, key: str, weights_of: str | None = None) -> ServiceResponse:
        """Ask what this key allows, and for a link to the weights of the model `weights_of`, if given.

        Raises Refused or Unreachable, neither of which contains the key.
        """
        # A single timeout for everything: a server that sends a byte now and then would never reach a read timeout.
        return asyncio.run(self._request(key, weights_of))

    async def _request(self, key: str, weights_of: str | None) -> ServiceResponse:
        try:
            async with asyncio.timeout(RESPONSE_SECONDS):
                status, kind, body, date = await self._post(key, weights_of)
        except TimeoutError:
            raise self._unreachable(
                msg("it does not answer within {answer_seconds} s", answer_seconds=RESPONSE_SECONDS)
            ) from None
        response = _json_object(body)
        if status == 200 and response is None:
            raise self._unreachable(msg("it answers {content_type} instead of JSON", content_type=kind or "something"))
        if date is not None and (status == 200 or _is_rejection(status, kind, response)):
            self.on_service_time(date)
        if _is_rejection(status, kind, response):
            reason = _reason(response, body).replace(key, "...").rstrip(".")
            raise Refused(
                msg("The licence service {url} refuses this key: {reason}.", url=self._display_url, reason=reason),
                self._old_key_hint or "Ask for another licence.",
            )
        if status != 200 or response is None:
            raise self._unreachable(msg("it answers {status}", status=status))
        try:
            return ServiceResponse.parse(response)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._unreachable("its answer makes no sense") from None

    async def _post(self, key: str, weights_of: str | None) -> tuple[int, str, bytes, datetime | None]:
        import httpx

        try:
            parse_http_url(self.url)
        except ValueError as error:
            if isinstance(error.__cause__, httpx.InvalidURL):
                raise UsageError(
                    msg("{url!r} is no address: {error}.", url=self._display_url, error=error),
                    "Check --license-service.",
                ) from error
            raise self._unreachable(str(error)) from error
        # No encoding is accepted: 64 KiB of gzip can hold 64 MiB of text.
        headers = {"Accept-Encoding": "identity"}
        if weights_of:
            # RFC 7240. A service without weights ignores it, and returns a link to MariTalk Local's own program.
            headers["Prefer"] = f"artifact=weights, model={weights_of}"
        try:
            async with (
                httpx.AsyncClient(timeout=RESPONSE_SECONDS) as client,
                client.stream(
                    "POST",
                    f"{self.url.rstrip('/')}/local/download",
                    json={"license": key, "cuda_version": self.cuda_version},
                    headers=headers,
                ) as response,
            ):
                if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
                    raise self._unreachable(
                        msg("it answers in the encoding {encoding!r}, which was not asked for", encoding=encoding[:40])
                    )
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > _MAX_RESPONSE_BYTES:
                        raise self._unreachable(
                            msg(
                                "its answer is longer than {longest_answer} KiB",
                                longest_answer=_MAX_RESPONSE_BYTES // 1024,
                            )
                        )
                kind = response.headers.get("content-type", "").partition(";")[0]
                return response.status_code, kind, body, _date(response.headers.get("date", ""))
        except httpx.ConnectError as error:
            raise self._unreachable(msg("it cannot be reached ({error})", error=connection_failure(error))) from error
        except httpx.HTTPError as error:
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(
            msg(
                "The licence service {url} cannot be asked about this key: {reason}.",
                url=self._display_url,
                reason=reason,
            ),
            self._old_key_hint
            or "Check --license-service and the network, or use a signed licence, which needs neither.",
        )

    @property
    def _old_key_hint(self) -> str:
        """The hint for a key of MariTalk Local, which any other key for that service is taken for; else empty."""
        if self.url.rstrip("/") != MARITALK_LOCAL_SERVICE:
            return ""
        return msg(
            "A key of MariTalk Local brings no weights to this server. Use --model PATH, an open model such as --model "
            "{name}, or --model demo. A key for this server needs the address of its service: --license-service URL.",
            name=RECOMMENDED,
        )


def _is_rejection(status: int, kind: str, response: dict[str, Any] | None) -> bool:
    """Whether the service itself rejects the key, and not a proxy or another server."""
    if status == 200:
        return response is not None and "presigned_url" not in response
    if not 400 <= status < 500 or status in (408, 425, 429):
        return False
    return response is not None or (status not in (404, 405) and "html" not in kind)


def _date(text: str) -> datetime | None:
    """Parse a Date header; None if it is invalid."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        response = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return response if isinstance(response, dict) else None


def _reason(response: dict[str, Any] | None, body: bytes) -> str:
    """The reason that the service gives, on one line."""
    text: object = body.decode(errors="replace")
    if response is not None:
        text = next((response[name] for name in ("error", "message", "detail") if name in response), "")
    return " ".join(str(text).split())[:_MAX_REASON_LENGTH] or "it does not say why"
