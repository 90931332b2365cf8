"""The licence service, by the protocol of MariTalk Local's download: POST <service>/local/download."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import LicenseError, UsageError
from ..masking import masked
from .http_address import checked
from .service_response import ServiceResponse

ANSWER_SECONDS = 15
"""From the first byte sent to the last received."""

_LONGEST_ANSWER = 64 * 1024
_LONGEST_REASON = 200


class Refused(LicenseError):
    """The service says that the key is not good."""


class Unreachable(LicenseError):
    """The service cannot be asked: it is down, silent, or what answers is something else. Later it may be."""

    exit_code = 10


@dataclass(frozen=True, slots=True)
class ServiceClient:
    """A licence service, and what it is told of this machine's CUDA (None: there is none)."""

    url: str
    cuda_version: str | None
    believe: Callable[[datetime], None] = field(default=lambda time: None, compare=False)
    """Called with the time that an answer of the service's own says it is."""

    @property
    def _shown(self) -> str:
        """Its address, without a password in it."""
        return masked(self.url)

    def ask(self, key: str, weights_of: str | None = None) -> ServiceResponse:
        """What this key allows, with a link to the weights of a model, if one is named.

        Raises Refused or Unreachable, neither of which repeats the key.
        """
        # One limit for the whole: a server that sends a byte now and then would outlast any other.
        return asyncio.run(self._ask(key, weights_of))

    async def _ask(self, key: str, weights_of: str | None) -> ServiceResponse:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, kind, body, date = await self._post(key, weights_of)
        except TimeoutError:
            raise self._unreachable(f"it does not answer within {ANSWER_SECONDS} s") from None
        answer = _json_object(body)
        if status == 200 and answer is None:
            raise self._unreachable(f"it answers {kind or 'something'} instead of JSON")
        if date is not None and (status == 200 or _refuses(status, kind, answer)):
            self.believe(date)
        if _refuses(status, kind, answer):
            reason = _reason(answer, body).replace(key, "...").rstrip(".")
            raise Refused(f"The licence service {self._shown} refuses this key: {reason}.", "Ask for another licence.")
        if status != 200 or answer is None:
            raise self._unreachable(f"it answers {status}")
        try:
            return ServiceResponse.read(answer)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise self._unreachable("its answer makes no sense") from None

    async def _post(self, key: str, weights_of: str | None) -> tuple[int, str, bytes, datetime | None]:
        import httpx

        try:
            checked(self.url)
        except ValueError as error:
            if isinstance(error.__cause__, httpx.InvalidURL):
                raise UsageError(f"{self._shown!r} is no address: {error}.", "Check --license-service.") from error
            raise self._unreachable(str(error)) from error
        # Nothing is decoded: 64 KiB of gzip are 64 MiB of text.
        headers = {"Accept-Encoding": "identity"}
        if weights_of:
            # RFC 7240. A service that knows no weights ignores it, and gives MariTalk Local's own program.
            headers["Prefer"] = f"artifact=weights, model={weights_of}"
        try:
            async with (
                httpx.AsyncClient(timeout=ANSWER_SECONDS) as client,
                client.stream(
                    "POST",
                    f"{self.url.rstrip('/')}/local/download",
                    json={"license": key, "cuda_version": self.cuda_version},
                    headers=headers,
                ) as answer,
            ):
                if (encoding := answer.headers.get("content-encoding", "identity")) != "identity":
                    raise self._unreachable(f"it answers in the encoding {encoding[:40]!r}, which was not asked for")
                body = b""
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _LONGEST_ANSWER:
                        raise self._unreachable(f"its answer is longer than {_LONGEST_ANSWER // 1024} KiB")
                kind = answer.headers.get("content-type", "").partition(";")[0]
                return answer.status_code, kind, body, _date(answer.headers.get("date", ""))
        except httpx.ConnectError as error:
            raise self._unreachable(f"it cannot be reached ({error})") from error
        except httpx.HTTPError as error:
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, reason: str) -> Unreachable:
        return Unreachable(
            f"The licence service {self._shown} cannot be asked about this key: {reason}.",
            "Check --license-service and the network, or use a signed licence, which needs neither.",
        )


def _refuses(status: int, kind: str, answer: dict[str, Any] | None) -> bool:
    """Whether it is the service that refuses the key, and not a proxy, or some other server."""
    if status == 200:
        return answer is not None and "presigned_url" not in answer
    if not 400 <= status < 500 or status in (408, 425, 429):
        return False
    return answer is not None or (status not in (404, 405) and "html" not in kind)


def _date(text: str) -> datetime | None:
    """The time of a Date header."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _reason(answer: dict[str, Any] | None, body: bytes) -> str:
    """The service's own words, on one line."""
    told: object = body.decode(errors="replace")
    if answer is not None:
        told = next((answer[name] for name in ("error", "message", "detail") if name in answer), "")
    return " ".join(str(told).split())[:_LONGEST_REASON] or "it does not say why"
