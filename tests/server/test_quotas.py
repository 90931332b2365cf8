"""Requests and tokens a minute, for each key by itself."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.engine.account import Account, current
from maritalk_vllm.server.keys import KEY
from maritalk_vllm.server.quotas import Quotas


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes 10 tokens."""
    if (account := current.get()) is not None:
        account.prompt_tokens, account.completion_tokens = 4, 6
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(quotas: Quotas, key: str | None, method: str = "POST") -> tuple[int, dict[str, str]]:
    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    token = current.set(Account())
    try:
        await quotas({"type": "http", "method": method, "path": "/generate", KEY: key}, None, send)  # type: ignore[arg-type]
    finally:
        current.reset(token)
    headers = {name.decode(): value.decode() for name, value in seen[0]["headers"]}
    return seen[0]["status"], headers


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test begins in one minute and ends in the next."""
    import time

    now = time.time() // 60 * 60 + 20
    monkeypatch.setattr(time, "time", lambda: now)


def test_so_many_requests() -> None:
    async def scenario() -> None:
        quotas = Quotas(answer, 3, None)
        for _ in range(3):
            assert (await ask(quotas, "a"))[0] == 200
        status, headers = await ask(quotas, "a")
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60
        assert (await ask(quotas, "b"))[0] == 200
        assert (await ask(quotas, "a", "GET"))[0] == 200

    asyncio.run(scenario())


def test_so_many_tokens() -> None:
    async def scenario() -> None:
        quotas = Quotas(answer, None, 25)
        statuses = [(await ask(quotas, "a"))[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert (await ask(quotas, "b"))[0] == 200

    asyncio.run(scenario())


def test_no_limit_and_no_key() -> None:
    async def scenario() -> None:
        for quotas, key in ((Quotas(answer, None, None), "a"), (Quotas(answer, 1, 1), None)):
            assert {(await ask(quotas, key))[0] for _ in range(5)} == {200}

    asyncio.run(scenario())
