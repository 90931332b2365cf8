"""Request metrics, through the middleware stack of the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maritalk_vllm.engine.request_context import CONTEXT
from maritalk_vllm.errors import Unavailable
from maritalk_vllm.http import client_limits
from maritalk_vllm.server.loading.loading_app import LoadingApp
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.in_flight import InFlight, InFlightRequests
from maritalk_vllm.server.middleware.request_metrics import RequestMetrics
from maritalk_vllm.server.middleware.route_labels import OTHER, OWN, RouteLabels
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import Settings, TimeUnit
from tests.counting import generated, samples

KEY, OTHER_KEY = "chave-de-ana", "chave-de-bia"
NAMED_KEY = "chave-com-nome"
DIGITS, OTHER_DIGITS = hash_key(KEY)[:8], hash_key(OTHER_KEY)[:8]
Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


async def generate(request: Request) -> Response:
    """A route that has used the engine."""
    request.scope[CONTEXT].usage.admit(12, generated(40))
    await request.body()
    return JSONResponse({"output": "olá"})


async def streamed(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b""
        for _ in range(3):
            yield b"x"
            await asyncio.sleep(0.06)

    return StreamingResponse(pieces())


async def with_status(request: Request) -> Response:
    return PlainTextResponse("no", int(request.path_params["status"]))


async def broken(request: Request) -> Response:
    raise RuntimeError("broken")


APP = Starlette(
    routes=[
        Route("/", generate),
        Route("/generate", generate, methods=["POST"]),
        Route("/v1/completions", streamed, methods=["POST"]),
        Route("/v1/threads/{thread}", generate),
        Route("/status/{status}", with_status, methods=["GET", "POST"]),
        Route("/broken", broken),
    ]
)


class Counting:
    """The middleware stack of a server around an application, without the engine."""

    def __init__(
        self, access: AccessConfig | None = None, inside: ASGIApp = APP, state: ServerState | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self.state = state or ServerState(Phase.READY)
        routes = RouteLabels([each.path for each in APP.routes if isinstance(each, Route)])
        self.request_metrics = RequestMetrics(self.registry, routes, self.state)
        self.app = MiddlewareStack(
            inside, access or AccessConfig(), self.state, TimeUnit.MILLISECONDS, self.request_metrics
        )

    def run(self, scenario: Scenario) -> None:
        async def running() -> None:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                await scenario(client)

        asyncio.run(running())

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def found(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the samples above 0 of one metric, by their label values in the order of the label names."""
        every = samples(self.text)
        return {
            tuple(value for _, value in labels): number
            for (each, labels), number in every.items()
            if each == name and number
        }

    @property
    def requests(self) -> dict[tuple[str, ...], float]:
        """Requests by key, method, route and status."""
        return self.found("maritalk_requests_total")

    @property
    def rejected(self) -> dict[str, float]:
        return {reason: number for (reason,), number in self.found("maritalk_refused_total").items()}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_requests_by_route_method_and_status() -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(3):
            await client.post("/generate", json={})
        await client.get("/")
        await client.get("/generate")
        await client.get("/broken")
        # Two requests of one route: path parameters are not in the label.
        await client.get("/v1/threads/resp_1")
        await client.get("/v1/threads/resp_2")
        # Maritaca's paths of the same routes.
        await client.post("/api/completions")
        await client.post("/api/v1/completions")
        await client.get("/api/v1/threads/resp_3")

    counting.run(scenario)
    assert counting.requests == {
        ("", "POST", "/generate", "200"): 3,
        ("", "GET", "/", "200"): 1,
        ("", "GET", "/generate", "405"): 1,
        ("", "GET", "/broken", "500"): 1,
        ("", "GET", "/v1/threads/{thread}", "200"): 2,
        ("", "POST", "/v1/completions", "404"): 2,
        ("", "GET", "/v1/threads/{thread}", "404"): 1,
    }


def test_arbitrary_paths_and_methods_add_no_series() -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        for number in range(20):
            await client.request("GET", f"/made/up/{number}?key={number}", headers={"X-Request-Id": str(number)})
            await client.request(f"METHOD{number}", f"/{number}")

    counting.run(scenario)
    assert counting.requests == {("", "GET", OTHER, "404"): 20, ("", "other", OTHER, "404"): 20}


def test_monitoring_and_the_chat_page_are_not_counted() -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/livez", "/readyz", "/metrics", "/chat", "/chat/js/main.js"):
            await client.get(path)

    counting.run(scenario)
    assert counting.requests == {}
    assert counting.rejected == {}


def test_tokens_and_requests_by_key_without_any_key_in_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{OTHER_KEY}\n{NAMED_KEY} # name: ana")
    counting = Counting(AccessConfig.from_settings(Settings(api_key=(KEY,), api_key_file=file)))

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate", headers=bearer(KEY))
        await client.post("/generate", headers=bearer(KEY))
        await client.post("/generate", headers={"x-api-key": OTHER_KEY})
        await client.post("/generate", headers=bearer(NAMED_KEY))
        await client.post("/generate", headers=bearer("chave-errada"))

    counting.run(scenario)
    assert counting.found("maritalk_tokens_total") == {
        (DIGITS, "prompt"): 24,
        (DIGITS, "answer"): 80,
        (OTHER_DIGITS, "prompt"): 12,
        (OTHER_DIGITS, "answer"): 40,
        ("ana", "prompt"): 12,
        ("ana", "answer"): 40,
    }
    assert counting.requests == {
        (DIGITS, "POST", "/generate", "200"): 2,
        (OTHER_DIGITS, "POST", "/generate", "200"): 1,
        ("ana", "POST", "/generate", "200"): 1,
        ("", "POST", "/generate", "401"): 1,
    }
    assert "chave" not in counting.text
    assert hash_key(KEY) not in counting.text


def test_tokens_without_keys() -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate")

    counting.run(scenario)
    assert counting.found("maritalk_tokens_total") == {("", "prompt"): 12, ("", "answer"): 40}


def test_every_rejection_reason_is_exported_from_the_start() -> None:
    every = {labels[0][1] for name, labels in samples(Counting().text) if name == "maritalk_refused_total"}
    assert every == {
        *("no_key", "wrong_key", "foreign", "quota", "too_large", "too_slow"),
        *("overloaded", "loading", "draining", "failed", "bad_request", "engine_deaths"),
    }


def test_rejected_by_authentication_and_body_limits() -> None:
    counting = Counting(AccessConfig(digests=(hash_key(KEY),), requests_per_minute=1000, max_body_bytes=10))

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate")
        await client.post("/generate", headers=bearer("wrong"))
        await client.post("/generate", headers=bearer("wrong too"))
        await client.post("/generate", headers=bearer(KEY), content=b"x" * 11)
        await client.post("/generate", headers=bearer(KEY), content=b"x" * 10)

    counting.run(scenario)
    assert counting.rejected == {"no_key": 1, "wrong_key": 2, "too_large": 1}


def test_rejected_by_a_rate_limit() -> None:
    counting = Counting(AccessConfig(digests=(hash_key(KEY),), tokens_per_minute=1))

    async def scenario(client: httpx.AsyncClient) -> None:
        # The window may end between two requests.
        for _ in range(3):
            await client.post("/generate", headers=bearer(KEY))

    counting.run(scenario)
    assert set(counting.rejected) == {"quota"}
    assert counting.requests[DIGITS, "POST", "/generate", "429"] == counting.rejected["quota"]


def test_rejected_for_a_slow_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_IDLE_SECONDS", 0.05)
    counting = Counting()

    async def dripping() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(1)
        yield b"x"

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate", content=dripping())

    counting.run(scenario)
    assert counting.rejected == {"too_slow": 1}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "bad_request"),
        (404, "bad_request"),
        (422, "bad_request"),
        (499, "bad_request"),
        (503, "overloaded"),
        (500, ""),
        (501, ""),
    ],
)
def test_rejected_by_the_application(status: int, reason: str) -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post(f"/status/{status}")

    counting.run(scenario)
    assert counting.rejected == ({reason: 1} if reason else {})
    # Rejected requests do not count in the response times, which they would make look short.
    assert counting.found("maritalk_request_seconds_count") == {}


def test_rejected_while_draining() -> None:
    in_flight = InFlightRequests()
    counting = Counting(inside=InFlight(APP, in_flight))
    counting.state.transition_to(Phase.DRAINING)
    in_flight.reject_new(Unavailable("The server is stopping."), "draining")

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate")
        await client.get("/")

    counting.run(scenario)
    assert counting.rejected == {"draining": 1}
    assert counting.requests["", "GET", "/", "200"] == 1


def test_rejected_while_loading_and_after_a_failure() -> None:
    state = ServerState()
    loading_app = LoadingApp(CollectorRegistry())
    counting = Counting(inside=loading_app, state=state)

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.get("/v1/models")
        await client.get("/")
        waiting = asyncio.create_task(client.post("/generate"))
        await asyncio.sleep(0.05)
        state.transition_to(Phase.FAILED)
        loading_app.fail(Unavailable("The engine failed."))
        await waiting

    counting.run(scenario)
    assert counting.rejected == {"loading": 1, "failed": 1}
    assert counting.requests["", "POST", "/generate", "503"] == 1


def test_response_time_and_time_to_the_first_byte() -> None:
    counting = Counting()

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/v1/completions")

    counting.run(scenario)
    route = ("/v1/completions",)
    assert counting.found("maritalk_request_seconds_count") == {route: 1}
    assert counting.found("maritalk_request_first_byte_seconds_count") == {route: 1}
    whole = counting.found("maritalk_request_seconds_sum")[route]
    first = counting.found("maritalk_request_first_byte_seconds_sum")[route]
    assert first > 0
    assert whole - first > 0.12  # the pauses after the first byte


def test_a_disconnected_client_is_counted_as_hung_up() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    counting = Counting(inside=silent)

    async def body() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: object) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/generate", "headers": []}

    async def scenario() -> None:
        await counting.app(scope, body, send)

    asyncio.run(scenario())
    assert counting.requests == {("", "POST", "/generate", "hung_up"): 1}
    assert counting.found("maritalk_request_seconds_count") == {}


def test_traced_requests_are_counted_by_key() -> None:
    counting = Counting(AccessConfig(digests=(hash_key(KEY),), traced=True))

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/generate", headers=bearer(KEY))

    counting.run(scenario)
    assert counting.requests == {(DIGITS, "POST", "/generate", "200"): 1}


@pytest.mark.parametrize(
    ("path", "route"),
    [
        *((path, path) for path in OWN),
        ("/v1/models", "/v1/models"),
        ("/api/models", "/v1/models"),
        ("/api/v1/models", "/v1/models"),
        ("/v1/models/", OTHER),
        ("/v1/threads/a", "/v1/threads/{thread}"),
        ("/v1/threads/{thread}", "/v1/threads/{thread}"),
        ("/v1/threads/a/cancel", "/v1/threads/{thread}/cancel"),
        ("/v1/threads/a/b/c", OTHER),
        ("/api/chat/inference/", OTHER),
        ("", OTHER),
        ("//", OTHER),
        ("/\0\n", OTHER),
    ],
)
def test_the_route_label_of_a_path(path: str, route: str) -> None:
    routes = RouteLabels(["/v1/models", "/v1/threads/{thread}", "/v1/threads/{thread}/cancel"])
    assert routes.label_of(path) == route


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/generate", {"error": "The server failed on this request. Its log says why."}),
        ("/api/chat/inference", {"detail": "The server failed on this request. Its log says why."}),
    ],
)
def test_an_internal_error_has_the_format_of_its_api_and_is_logged(
    path: str, payload: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken inside")

    async def scenario(client: httpx.AsyncClient) -> None:
        with caplog.at_level("ERROR", logger="vllm.maritalk"):
            answer = await client.post(path)
        assert (answer.status_code, answer.json()) == (500, payload)
        assert answer.headers["x-request-id"]

    Counting(inside=failing).run(scenario)
    assert "RuntimeError: 'broken inside' at " in caplog.text and "in failing" in caplog.text
    assert "Traceback" not in caplog.text
