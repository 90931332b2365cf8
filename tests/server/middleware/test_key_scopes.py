"""Scopes of API keys: which metrics a key sees, and keys that can only read metrics."""

import asyncio
import re
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, make_asgi_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.server.messaging.direction import encode_value
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import Settings, TimeUnit
from tests.counting import request_metrics, samples

ANA, BIA, PROMETHEUS, WRONG = "key-of-ana", "key-of-bia", "key-of-prometheus", "key-of-nothing"
NAME = 'bia "the\\second"'
FILE = f"""{ANA} # name: ana
{BIA} # name: {NAME}
{PROMETHEUS} # name: prometheus, scope: metrics
{WRONG} # scope: metric
"""


def registry() -> CollectorRegistry:
    result = CollectorRegistry()
    counter = Counter("maritalk_tokens", "Tokens.", ("kind", "key"), registry=result)
    for number, key in enumerate(("ana", NAME, ""), 1):
        counter.labels("prompt", key).inc(number)
    Counter("vllm:tokens", "All tokens.", registry=result).inc(6)
    return result


def metrics() -> Mount:
    """Mount metrics as vLLM does: for every path that starts with /metrics, and every method."""
    mount = Mount("/metrics", make_asgi_app(registry()))
    mount.path_regex = re.compile("^/metrics(?P<path>.*)$")
    return mount


async def generate(request: Request) -> Response:
    return PlainTextResponse("text")


APP = Starlette(routes=[metrics(), Route("/generate", generate, methods=["POST"]), Route("/", generate)])


@pytest.fixture
def access(tmp_path: Path) -> AccessConfig:
    file = tmp_path / "keys"
    file.write_text(FILE)
    return AccessConfig.from_settings(Settings(api_key_file=file))


def ask(
    access: AccessConfig,
    path: str,
    key: str | None,
    method: str = "GET",
    inside: ASGIApp = APP,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    app = MiddlewareStack(inside, access, ServerState(), TimeUnit.SECONDS, request_metrics(), page=False)
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}

    async def asking() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asking())


def visible(answer: httpx.Response) -> dict[str, float]:
    assert answer.status_code == 200
    found = samples(answer.text)
    assert found["vllm:tokens_total", ()] == 6
    return {dict(labels)["key"]: value for (name, labels), value in found.items() if name == "maritalk_tokens_total"}


def test_a_key_sees_its_own_metrics(access: AccessConfig) -> None:
    answer = ask(access, "/metrics", ANA)
    assert visible(answer) == {"ana": 1, "": 3}
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert visible(ask(access, "/metrics", BIA)) == {NAME: 2, "": 3}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPFIND"])
def test_a_key_sees_its_own_metrics_by_every_method(access: AccessConfig, method: str) -> None:
    assert visible(ask(access, "/metrics", ANA, method)) == {"ana": 1, "": 3}


@pytest.mark.parametrize("accept", ["gzip", "GZIP", "gzip;q=1.0, identity", "*"])
@pytest.mark.parametrize("kind", ["*/*", "application/openmetrics-text; version=1.0.0"])
def test_a_key_without_a_scope_gets_uncompressed_metrics(access: AccessConfig, accept: str, kind: str) -> None:
    answer = ask(access, "/metrics", ANA, headers={"Accept-Encoding": accept, "Accept": kind})
    assert "content-encoding" not in answer.headers
    assert 'key="ana"' in answer.text
    assert "bia" not in answer.text


def test_metrics_that_are_compressed_anyway_are_an_error(access: AccessConfig) -> None:
    async def compressed(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*scope["headers"], (b"accept-encoding", b"gzip")]
        await APP({**scope, "headers": headers}, receive, send)

    answer = ask(access, "/metrics", ANA, inside=compressed)
    assert answer.status_code == 500
    assert "cannot be filtered by key" in answer.json()["error"]
    answer = ask(access, "/metrics", PROMETHEUS, inside=compressed)
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", ["/metrics/", "/metricsx", "/metrics/x", "/metrics%2F", "/metrics%0A", "/metrics;a"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_other_path_has_metrics(access: AccessConfig, path: str, method: str) -> None:
    answer = ask(access, path, ANA, method)
    assert answer.status_code == 404
    assert "The metrics are at /metrics." in answer.json()["error"]
    assert ask(access, path, PROMETHEUS, method).status_code == 403


def test_a_metrics_key_sees_the_metrics_of_all_keys(access: AccessConfig) -> None:
    assert visible(ask(access, "/metrics", PROMETHEUS)) == {"ana": 1, NAME: 2, "": 3}


def test_without_keys_all_metrics_are_visible() -> None:
    assert visible(ask(AccessConfig(), "/metrics", None)) == {"ana": 1, NAME: 2, "": 3}


@pytest.mark.parametrize(("method", "path"), [("POST", "/generate"), ("GET", "/"), ("POST", "/metrics")])
def test_a_metrics_key_is_rejected_everywhere_else(access: AccessConfig, method: str, path: str) -> None:
    answer = ask(access, path, PROMETHEUS, method)
    assert answer.status_code == 403
    assert answer.json()["error"] == "This API key is for GET /metrics alone. Use another key."
    assert ask(access, "/livez", PROMETHEUS).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/metrics"), ("POST", "/generate")])
def test_a_key_with_an_unknown_scope_is_rejected(access: AccessConfig, method: str, path: str) -> None:
    answer = ask(access, path, WRONG, method)
    assert answer.status_code == 403
    assert "There is no scope 'metric'" in answer.json()["error"]


@pytest.mark.parametrize(
    ("comment", "name", "scope"),
    [
        ("", hash_key(ANA)[:8], ""),
        ("name: ana", "ana", ""),
        ("name: ana, scope: metrics", "ana", "metrics"),
        ("name: ana scope:metrics", "ana", "metrics"),
        ("scope: metrics", hash_key(ANA)[:8], "metrics"),
        ("scope:", hash_key(ANA)[:8], "?"),
        ("name: telescope: old", "telescope: old", ""),
        ("the scope of a dog", hash_key(ANA)[:8], ""),
        ("the scope: metrics", hash_key(ANA)[:8], "metrics"),
        ("prometheus, scope: metrics", hash_key(ANA)[:8], "metrics"),
        ("Scope: metrics", hash_key(ANA)[:8], "metrics"),
        ("SCOPE : Metrics", hash_key(ANA)[:8], "metrics"),
        ("scope=metrics", hash_key(ANA)[:8], "metrics"),
        ("scopes: metrics", hash_key(ANA)[:8], "metrics"),
        ("Name: p, scope: metrics", "p", "metrics"),
        ("name: p (scope: metrics)", "p", "metrics"),
        ("name: p [scope: metrics]", "p", "metrics"),
        ("name: p; scope: metrics; read by Grafana", "p read by Grafana", "metrics"),
        ("scope: metrics, name: p", "p", "metrics"),
        ("of Prometheus # name: p, scope: metrics", hash_key(ANA)[:8], "metrics"),
        (f"name: {'p' * 64}, scope: metrics", "p" * 64, "metrics"),
        (f"name: {'p' * 60}, scope: metrics", "p" * 60, "metrics"),
        ("name: p, scope: metric", "p", "metric"),
        ("name: p, scope: metrics, scope: all", "p", "?"),
        ("name: p, scope:, scope: metrics", "p", "?"),
    ],
)
def test_names_and_scopes_in_a_key_file(tmp_path: Path, comment: str, name: str, scope: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{ANA} # {comment}")
    access = AccessConfig.from_settings(Settings(api_key_file=file))
    # As the API process receives it.
    keys = msgspec.msgpack.decode(msgspec.msgpack.encode(access, enc_hook=encode_value), type=AccessConfig).keys
    assert (keys.label_of(hash_key(ANA)), keys.scope_of(hash_key(ANA))) == (name, scope)
