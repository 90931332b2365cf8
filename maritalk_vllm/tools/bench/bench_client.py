"""One server's client: light enough that what is measured is the server."""

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from ...errors import Unavailable
from .api_formats import Spent, Wire
from .request_result import RequestResult

IDLE_SECONDS = 2.0
"""How long a connection waits for its next request: servers on uvicorn close it after 5 s, maybe under a request."""


class BenchClient:
    """Asks the server at `url`; to be entered. `headers` go with every request."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = headers

    async def __aenter__(self) -> Self:
        # No limit of connections: how many there are is the load's business. No proxy: what is on the way counts.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
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
        """What the server answers, as JSON. Raises Unavailable if it answers with an error, or not at all."""
        try:
            async with self._session.post(self._url + path, json=body) as reply:
                if reply.status != 200:
                    raise Unavailable(f"{self._url}{path} answers {reply.status}: {(await reply.text())[:200]}")
                return await reply.json()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._url} does not answer: {error}") from error

    async def ask(self, wire: Wire, prompt: str, max_tokens: int) -> RequestResult:
        """One request, whatever becomes of it."""
        body, texts_at, spent, failure = wire.body(prompt, max_tokens), [], None, ""
        began = time.monotonic()
        try:
            async with self._session.post(self._url + wire.path, json=body) as reply:
                if reply.status != 200:
                    failure = f"{reply.status}: {(await reply.text())[:200]}"
                elif not wire.streamed:
                    spent = wire.spent(json.loads(await reply.read()))
                else:
                    async for line in reply.content:
                        if not line.startswith(b"data: {"):
                            continue
                        event = json.loads(line[6:])
                        if "error" in event or "detail" in event:
                            failure = line.decode().strip()
                            continue
                        spent = wire.spent(event) or spent
                        if wire.has_text(event):
                            texts_at.append(time.monotonic())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
        ended = time.monotonic()
        return _outcome(began, ended, texts_at, spent, failure)


def _outcome(began: float, ended: float, texts_at: list[float], spent: Spent | None, failure: str) -> RequestResult:
    if failure or spent is None:
        return RequestResult(began=began, ended=ended, failure=failure or "The answer says nothing of its tokens.")
    return RequestResult(
        began=began,
        ended=ended,
        texts_at=tuple(texts_at),
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        queue_time=spent.queue_time,
        prompt_time=spent.prompt_time,
        generation_time=spent.generation_time,
    )
