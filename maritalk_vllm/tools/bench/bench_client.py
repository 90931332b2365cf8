"""HTTP client of the benchmark: light, so that the measurement shows the server and not the client."""

import json
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from ...errors import Unavailable
from ...i18n.message import msg
from ..server_connection import no_server_error, untrusted_error
from .api_formats import ApiFormat, Usage
from .request_result import RequestResult

IDLE_SECONDS = 2.0
"""Keep-alive of an idle connection. uvicorn closes one after 5 s, which would race with a new request."""


class BenchClient:
    """Async context manager that sends requests to the server at `url`, each with the API key if there is one."""

    def __init__(self, url: str, key: str | None = None, *, verify: ssl.SSLContext | bool = True) -> None:
        """`verify`: the certificates to trust, or whether to verify any."""
        self._url = url.rstrip("/")
        self._headers = _authorization(key)
        self._verify = verify
        self.connect_error: Unavailable | None = None
        """Why the last request that reached no server did not."""

    async def __aenter__(self) -> Self:
        # No connection limit: the load decides how many are open. No proxy: it would add to the latency.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=self._verify),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=self._headers,
            json_serialize=json.dumps,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, path: str, body: object) -> Any:  # noqa: ANN401
        """POST `body` and return the response's JSON. Raises Unavailable on an error response or no response."""
        try:
            async with self._session.post(self._url + path, json=body) as response:
                if response.status != 200:
                    raise Unavailable(
                        msg(
                            "{url}{path} answers {status}: {text}",
                            url=self._url,
                            path=path,
                            status=response.status,
                            text=(await response.text())[:200],
                        )
                    )
                return await response.json()
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(msg("{url} does not answer: {error}", url=self._url, error=error)) from error

    async def ask(
        self,
        api_format: ApiFormat,
        prompt: str,
        max_tokens: int,
        fields: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> RequestResult:
        """Send one request, with more `fields` and an API key of its own if given.

        A failure is recorded in the result, not raised.
        """
        body = {**api_format.body(prompt, max_tokens), **(fields or {})}
        url, headers = self._url + api_format.path, _authorization(key)
        texts_at, usage, failure = [], None, ""
        began = time.monotonic()
        try:
            async with self._session.post(url, json=body, headers=headers) as response:
                if response.status != 200:
                    failure = f"{response.status}: {(await response.text())[:200]}"
                elif not api_format.streamed:
                    usage = api_format.usage(json.loads(await response.read()))
                else:
                    async for line in response.content:
                        if not line.startswith(b"data: {"):
                            continue
                        event = json.loads(line[6:])
                        if "error" in event or "detail" in event:
                            failure = line.decode().strip()
                            continue
                        usage = api_format.usage(event) or usage
                        if api_format.is_text_event(event):
                            texts_at.append(time.monotonic())
        except aiohttp.ClientConnectorError as error:
            self.connect_error = self._unreachable(error)
            failure = self.connect_error.message
            return RequestResult(began=began, ended=time.monotonic(), failure=failure)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
        ended = time.monotonic()
        return _result(began, ended, texts_at, usage, failure)

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> Unavailable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return untrusted_error(self._url, error.certificate_error)
        return no_server_error(self._url)


def _authorization(key: str | None) -> dict[str, str] | None:
    return {"Authorization": f"Bearer {key}"} if key else None


def _result(began: float, ended: float, texts_at: list[float], usage: Usage | None, failure: str) -> RequestResult:
    if failure or usage is None:
        return RequestResult(began=began, ended=ended, failure=failure or "The answer says nothing of its tokens.")
    return RequestResult(
        began=began,
        ended=ended,
        texts_at=tuple(texts_at),
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        queue_time=usage.queue_time,
        prompt_time=usage.prompt_time,
        generation_time=usage.generation_time,
    )
