"""Host and origin checks of servers without API keys, against requests by way of other sites."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.request_metrics import RequestMetrics
from maritalk_vllm.server.middleware.route_labels import OWN, RouteLabels
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import Settings, TimeUnit
from tests.server.loading.test_loading_app import running
from tests.server.middleware.test_authentication import inside
from tests.server.wire import Reply, wire

INSIDE = 207
JSON = "Content-Type: application/json"


def build_stack(access: AccessConfig) -> ASGIApp:
    state = ServerState()
    metrics = RequestMetrics(CollectorRegistry(), RouteLabels(OWN), state)
    return MiddlewareStack(inside, access, state, TimeUnit.MILLISECONDS, metrics)


def replies(settings: Settings, requests: Iterable[bytes]) -> dict[bytes, Reply]:
    """Send raw request heads, each on a connection of its own, and return the responses."""

    async def scenario() -> dict[bytes, Reply]:
        found = {}
        async with running(build_stack(AccessConfig.from_settings(settings))) as url:
            for asked in requests:
                async with wire(url) as connection:
                    await connection.send(asked + b"\r\n\r\n")
                    found[asked] = await connection.reply()
        return found

    return asyncio.run(scenario())


def by_host(settings: Settings, hosts: Iterable[str], first: str = "GET /v1/models HTTP/1.1") -> dict[str, int]:
    asked = {host: f"{first}\r\nHost: {host}".encode("latin-1") for host in hosts}
    found = replies(settings, asked.values())
    return {host: found[each].status for host, each in asked.items()}


OWN_NAMES = [
    *(
        "127.0.0.1:9000",
        "127.0.0.1",
        "192.168.0.7:80",
        "[::1]:9000",
        "[::1]",
        "[fe80::1%25eth0]:9000",
        "203.0.113.9:9000",
    ),
    *("localhost", "localhost:9000", "LOCALHOST:9000", "localhost.", "maritalk.localhost:9000", ""),
]
FOREIGN_NAMES = [
    *("evil.example", "evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost", "evil"),
    *(
        "localhost:9000@evil.example",
        "evil.example:80:80",
        "[evil.example]",
        "127.0.0.1, evil.example",
        "*",
        "local host",
    ),
    *("2130706433x", "caf\xe9.example", "127.0.0.1:evil", "x" * 1000),
]


def test_without_keys_only_addresses_and_localhost_are_allowed_hosts() -> None:
    assert by_host(Settings(), OWN_NAMES) == dict.fromkeys(OWN_NAMES, INSIDE)
    assert by_host(Settings(), FOREIGN_NAMES) == dict.fromkeys(FOREIGN_NAMES, 403)


def test_the_listening_name_and_the_allowed_hosts_are_accepted() -> None:
    allowed = ("Chat.example.org", "*.maritalk.svc", "[2001:db8::1]")
    settings = Settings(host="gpu-1", allowed_host=allowed)
    own = ["gpu-1:9000", "chat.example.org", "CHAT.example.org.:80", "a.maritalk.svc", "b.a.maritalk.svc:9000"]
    foreign = ["gpu-2", "example.org", "x.chat.example.org", "maritalk.svc", "xmaritalk.svc", "chat.example.org.evil"]
    assert by_host(settings, own) == dict.fromkeys(own, INSIDE)
    assert by_host(settings, foreign) == dict.fromkeys(foreign, 403)
    assert set(by_host(Settings(allowed_host=("*",)), [*FOREIGN_NAMES, *own]).values()) == {INSIDE}


@pytest.mark.parametrize(
    "given",
    ["https://chat.example.org", "chat.example.org:9000", "chat.example.org/x", "", "a b", "*.*", "a.*", "é.br"],
)
def test_an_invalid_allowed_host_is_an_error(given: str) -> None:
    with pytest.raises(UsageError, match="is no name of a host"):
        AccessConfig.from_settings(Settings(allowed_host=(given,)))


def test_with_keys_host_and_origin_are_not_checked() -> None:
    assert set(by_host(Settings(api_key=("k",)), ["evil.example", "localhost"]).values()) == {401}
    asked = b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nAuthorization: Bearer k"
    assert replies(Settings(api_key=("k",)), [asked])[asked].status == INSIDE


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_probes_accept_any_host(path: str) -> None:
    found = by_host(Settings(), ["evil.example", "maritalk.default.svc"], f"GET {path} HTTP/1.1")
    assert set(found.values()) <= {200, 503}
    foreign = f"GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example".encode()
    assert replies(Settings(), [foreign])[foreign].status in (200, 503)


@pytest.mark.parametrize("path", ["/", "/chat", "/chat/server.json", "/metrics", "/docs", "/generate", "/v1/messages"])
def test_no_other_path_accepts_a_foreign_host(path: str) -> None:
    asked = [
        f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html".encode()
        for method in ("GET", "POST", "OPTIONS", "DELETE")
    ]
    assert {reply.status for reply in replies(Settings(), asked).values()} == {403}


def test_the_error_names_the_options_in_the_format_of_its_api() -> None:
    openai = b"GET /v1/models HTTP/1.1\r\nHost: evil.example:9000"
    page = b"POST /generate HTTP/1.1\r\nHost: localhost:9000\r\nOrigin: https://evil.example\r\nContent-Length: 0"
    found = replies(Settings(), [openai, page])
    error = found[openai].json["error"]
    assert (error["code"], error["type"]) == (403, "ForbiddenError")
    assert "'evil.example'" in error["message"]
    assert "Start it with --allowed-host and that name, or with --api-key." in error["message"]
    assert "'https://evil.example'" in found[page].json["error"]
    assert "--allowed-host" in found[page].json["error"]
    assert "--allowed-origins" in found[page].json["error"]


def test_the_host_of_an_absolute_target_overrides_the_host_header() -> None:
    expected = {
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost": 403,
        b"GET http://evil.example:80/v1/models HTTP/1.0\r\nHost: localhost": 403,
        b"GET http://localhost:9000/v1/models HTTP/1.1\r\nHost: evil.example": INSIDE,
        b"GET http://[::1]:9000/v1/models HTTP/1.1\r\nHost: evil.example": INSIDE,
        b"GET http://localhost@evil.example/v1/models HTTP/1.1\r\nHost: localhost": 403,
    }
    found = replies(Settings(), expected)
    assert {asked: reply.status for asked, reply in found.items()} == expected


@pytest.mark.parametrize("keys", [(), ("k",)])
def test_exactly_one_host_header_is_required(keys: tuple[str, ...]) -> None:
    taken = 401 if keys else INSIDE
    expected = {
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost": 400,
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nhost: evil.example": 400,
        b"GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example": 400,
        b"GET /v1/models HTTP/1.1\r\nAccept: */*": 400,
        b"GET /v1/models HTTP/1.0\r\nHost: localhost\r\nHost: localhost": 400,
        b"GET /v1/models HTTP/1.0\r\nAccept: */*": taken,
        b"GET /v1/models HTTP/1.0": taken,
    }
    found = replies(Settings(api_key=keys), expected)
    assert {asked: reply.status for asked, reply in found.items()} == expected


POST = "POST /generate HTTP/1.1\r\nContent-Length: 0\r\nContent-Type: {}\r\nHost: {}{}"
PAGES = {
    # A program, and the chat page, for which browsers send an Origin header.
    ("localhost:9000", ""): INSIDE,
    ("localhost:9000", "Origin: http://localhost:9000"): INSIDE,
    ("192.168.0.7:9000", "Origin: http://192.168.0.7:9000"): INSIDE,
    ("[::1]:9000", "Origin: http://[::1]:9000"): INSIDE,
    ("localhost", "Origin: https://localhost"): INSIDE,
    ("localhost:443", "Origin: https://localhost"): INSIDE,
    ("localhost:9000", "Origin: http://evil.example"): 403,
    ("localhost:9000", "Origin: http://localhost"): 403,
    ("localhost:9000", "Origin: http://localhost:3000"): 403,
    ("localhost:9000", "Origin: http://127.0.0.1:9000"): 403,
    ("localhost:9000", "Origin: null"): 403,
    ("localhost:9000", "Origin: "): 403,
    ("localhost:9000", "Origin: localhost:9000"): 403,
    ("localhost:9000", "Origin: file://"): 403,
    ("localhost:9000", "Origin: http://localhost:9000\r\nOrigin: http://evil.example"): 403,
    ("localhost:9000", "Origin: http://evil.example\r\nOrigin: http://localhost:9000"): 403,
    ("localhost:9000", "Sec-Fetch-Site: same-origin"): INSIDE,
    ("localhost:9000", "Sec-Fetch-Site: none"): INSIDE,
    ("localhost:9000", "Sec-Fetch-Site: cross-site"): 403,
    ("localhost:9000", "Sec-Fetch-Site: same-site"): 403,
}


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_requests_from_pages_of_other_sites_are_rejected(kind: str) -> None:
    asked = {
        POST.format(kind, host, f"\r\n{says}" if says else "").encode(): status
        for (host, says), status in PAGES.items()
    }
    found = replies(Settings(), asked)
    assert {each: reply.status for each, reply in found.items()} == asked


def test_a_link_from_another_site_can_be_followed() -> None:
    asked = b"GET /chat HTTP/1.1\r\nHost: localhost:9000\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate"
    assert replies(Settings(), [asked])[asked].status == 200


def test_requests_from_allowed_origins_are_accepted() -> None:
    def status(host: str, origin: str, settings: Settings) -> int:
        asked = POST.format("text/plain", host, f"\r\nOrigin: {origin}").encode()
        return replies(settings, [asked])[asked].status

    site = "https://app.example.org"
    # CORS: pages of another site, which vLLM then allows to read the responses.
    for flag in (("--allowed-origins", json.dumps([site])), (f"--allowed_origins={json.dumps([site])}",)):
        settings = Settings(engine_args=flag)
        assert status("localhost:9000", site, settings) == INSIDE
        assert status("localhost:9000", "https://evil.example", settings) == 403
        assert status("app.example.org", site, settings) == 403
    assert status("localhost", site, Settings(engine_args=("--allowed-origins", '["*"]'))) == INSIDE
    assert status("localhost", site, Settings(engine_args=("--allowed-origins", "[nonsense"))) == 403
    # A proxy in front, which sends its own name for the server as Host, or the page's.
    settings = Settings(allowed_host=("app.example.org",))
    for host in ("127.0.0.1:9000", "app.example.org", "app.example.org:443"):
        assert status(host, site, settings) == INSIDE
        assert status(host, f"{site}:8443", settings) == INSIDE
    # Other servers may run on the same host name, on other ports.
    assert status("gpu-1:9000", "http://gpu-1:9000", Settings(host="gpu-1")) == INSIDE
    assert status("gpu-1:9000", "http://gpu-1:3000", Settings(host="gpu-1")) == 403


def test_allowing_every_host_does_not_allow_every_origin() -> None:
    def statuses(settings: Settings, *pages: tuple[str, str]) -> list[int]:
        asked = [POST.format("text/plain", host, f"\r\nOrigin: {origin}").encode() for host, origin in pages]
        return [reply.status for reply in replies(settings, asked).values()]

    site = "https://app.example.org"
    every = Settings(allowed_host=("*",))
    foreign = [(host, site) for host in ("localhost:9000", "127.0.0.1", "gpu-1:9000")]
    assert statuses(every, ("app.example.org", site), *foreign, ("gpu-1", "null")) == [INSIDE, *[403] * 4]
    named = replace(every, allowed_host=("*", "app.example.org", "*.example.com"))
    pages = [("gpu-1", site), ("gpu-1", "https://a.example.com"), ("gpu-1", "https://evil.example")]
    assert statuses(named, *pages) == [INSIDE, INSIDE, 403]
    assert statuses(replace(every, engine_args=("--allowed-origins", '["*"]')), *foreign) == [INSIDE] * 3
