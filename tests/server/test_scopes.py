"""What keys are for: metrics of others, and keys that read metrics alone."""

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from maritalk_vllm.server.access import Access
from maritalk_vllm.server.keys import ApiKeys, digest, read_key_file
from maritalk_vllm.server.state import State
from maritalk_vllm.settings import Settings, TimeUnit
from tests.counting import samples, tally

ANA, BIA, PROMETHEUS, WRONG = "key-of-ana", "key-of-bia", "key-of-prometheus", "key-of-nothing"
NAME = 'bia "the\\second"'
FILE = f"""{ANA} # name: ana
{BIA} # name: {NAME}
{PROMETHEUS} # name: prometheus, scope: metrics
{WRONG} # scope: metric
"""


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    counter = Counter("maritalk_tokens", "Tokens.", ("kind", "key"), registry=made)
    for number, key in enumerate(("ana", NAME, ""), 1):
        counter.labels("prompt", key).inc(number)
    Counter("vllm:tokens", "All tokens.", registry=made).inc(6)
    return made


async def metrics(request: Request) -> Response:
    return PlainTextResponse(generate_latest(registry()))


async def generate(request: Request) -> Response:
    return PlainTextResponse("text")


ROUTES = [Route("/metrics", metrics), Route("/generate", generate, methods=["POST"]), Route("/", generate)]


@pytest.fixture
def access(tmp_path: Path) -> Access:
    file = tmp_path / "keys"
    file.write_text(FILE)
    return Access.of(Settings(api_key_file=file))


def ask(access: Access, path: str, key: str | None, method: str = "GET") -> httpx.Response:
    app = access.around(Starlette(routes=ROUTES), State(), TimeUnit.SECONDS, tally(), page=False)

    async def asking() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers={"Authorization": f"Bearer {key}"} if key else {})

    return asyncio.run(asking())


def seen(answer: httpx.Response) -> dict[str, float]:
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    found = samples(answer.text)
    assert found["vllm:tokens_total", ()] == 6
    return {dict(labels)["key"]: value for (name, labels), value in found.items() if name == "maritalk_tokens_total"}


def test_a_key_sees_its_own_metrics(access: Access) -> None:
    assert seen(ask(access, "/metrics", ANA)) == {"ana": 1, "": 3}
    assert seen(ask(access, "/metrics", BIA)) == {NAME: 2, "": 3}


def test_a_key_for_metrics_sees_all_of_them(access: Access) -> None:
    assert seen(ask(access, "/metrics", PROMETHEUS)) == {"ana": 1, NAME: 2, "": 3}


def test_without_keys_there_is_nothing_to_hide() -> None:
    assert seen(ask(Access(), "/metrics", None)) == {"ana": 1, NAME: 2, "": 3}


@pytest.mark.parametrize(("method", "path"), [("POST", "/generate"), ("GET", "/"), ("POST", "/metrics")])
def test_a_key_for_metrics_is_for_nothing_else(access: Access, method: str, path: str) -> None:
    answer = ask(access, path, PROMETHEUS, method)
    assert answer.status_code == 403
    assert answer.json()["error"] == "This API key is for GET /metrics alone. Use another key."
    assert ask(access, "/livez", PROMETHEUS).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/generate")])
def test_an_unknown_scope_is_for_nothing(access: Access, method: str, path: str) -> None:
    answer = ask(access, path, WRONG, method)
    assert answer.status_code == 403
    assert "There is no scope 'metric'" in answer.json()["error"]


@pytest.mark.parametrize(
    ("comment", "name", "scope"),
    [
        ("", digest(ANA)[:8], ""),
        ("name: ana", "ana", ""),
        ("name: ana, scope: metrics", "ana", "metrics"),
        ("name: ana scope:metrics", "ana", "metrics"),
        ("scope: metrics", digest(ANA)[:8], "metrics"),
        ("scope:", digest(ANA)[:8], "?"),
        ("name: telescope: old", "telescope: old", ""),
        ("the scope: metrics", digest(ANA)[:8], ""),
    ],
)
def test_names_and_scopes_in_a_file(tmp_path: Path, comment: str, name: str, scope: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ANA} # {comment}")
    keys = ApiKeys((), read_key_file(file).keys)
    assert (keys.name(digest(ANA)), keys.scope(digest(ANA))) == (name, scope)
