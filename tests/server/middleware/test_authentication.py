"""Authentication, over real sockets: with keys set, only the probes need no key."""

import asyncio
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.server.middleware.api_keys import ApiKeys, hash_key
from maritalk_vllm.server.middleware.authentication import Authentication
from tests.counting import with_context
from tests.server.loading.test_loading_app import running
from tests.server.wire import Reply, wire

KEY = "chave-1"
KEYS = ApiKeys([hash_key(KEY), hash_key("chavé")])
NO_KEYS = ApiKeys([])
INSIDE = 207
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
PATHS = [
    "/",
    "/generate",
    "/chat/generate",
    "/api/chat/inference",
    "/api/chat/completions",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/version",
    "/tokenize",
    "/no/such/route",
]
# Paths that a proxy or router might take for a probe.
NEARLY_PROBES = [
    "//livez",
    "/livez/",
    "//livez/",
    "/%2flivez",
    "/livez%2f",
    "/livez%00",
    "/livez%20",
    "/LIVEZ",
    "/./livez",
    "/v1/../livez",
    "/livez/..",
    "/livez;x",
    "/livez/generate",
    "/generate?/livez",
    "/%2e%2e/readyz",
    "/readyz/",
    "//readyz",
    "/health/",
    "/healthz",
]


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind authentication. It responds with the path of the request."""
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": INSIDE, "headers": headers})
    await send({"type": "http.response.body", "body": body})


Asked = tuple[str, str, *tuple[str | bytes, ...]]
"""A method, a target, and headers."""


def replies(authentication: Authentication, requests: Iterable[Asked], body: bytes = b"") -> dict[Asked, Reply]:
    """Send requests one after the other on one connection, which also checks that no response shifts to the next."""

    async def scenario() -> dict[Asked, Reply]:
        found = {}
        async with running(with_context(authentication)) as url, wire(url) as connection:
            for asked in requests:
                await connection.ask(*asked, f"Content-Length: {len(body)}", body=body)
                found[asked] = await connection.reply(to=asked[0])
        return found

    return asyncio.run(scenario())


def reply_to(authentication: Authentication, *asked: *Asked) -> Reply:
    return replies(authentication, [asked])[asked]


MISSING = "needs an API key"
WRONG = "not one of this server's"


def test_without_keys_every_route_is_open() -> None:
    for asked, reply in replies(Authentication(inside, NO_KEYS), product(METHODS, PATHS + NEARLY_PROBES)).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("header", ["X-Nothing: x", "Authorization: Bearer wrong", "x-api-key: wrong"])
def test_with_keys_every_route_and_method_requires_one(header: str) -> None:
    # OPTIONS too: pages of other sites have no access, so no CORS preflight has to succeed.
    for asked, reply in replies(
        Authentication(inside, KEYS), product(METHODS, PATHS + NEARLY_PROBES, [header]), b"{}"
    ).items():
        assert reply.status == 401, asked
        assert reply.headers["www-authenticate"] == "Bearer"
        assert bool(reply.body) is (asked[0] != "HEAD")


def test_a_valid_key_is_accepted_on_every_route() -> None:
    key = f"Authorization: Bearer {KEY}"
    for asked, reply in replies(Authentication(inside, KEYS), product(METHODS, PATHS, [key])).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("open_status", [False, True])
def test_only_get_and_head_of_probes_need_no_key(open_status: bool) -> None:
    # `/%6civez` is `/livez` to every layer: a path is decoded once, before authentication.
    probes = ["/livez", "/readyz", "/health", "/livez?verbose", "/%6civez", "http://elsewhere/livez"]
    authentication = Authentication(inside, KEYS, open_status=open_status)
    for asked, reply in replies(authentication, product(METHODS, probes)).items():
        assert reply.status == (INSIDE if asked[0] in ("GET", "HEAD") else 401), asked
        if asked[0] == "GET":
            assert reply.body in (b"/livez", b"/readyz", b"/health")


def test_the_status_needs_no_key_only_with_open_status() -> None:
    closed, opened = (Authentication(inside, KEYS, open_status=each) for each in (False, True))
    assert {reply.status for reply in replies(closed, product(METHODS, ["/"])).values()} == {401}
    found = replies(opened, product(METHODS, ["/", "//", "/?x=/", "/%2f", "/.", "/generate"]))
    accepted = {asked for asked, reply in found.items() if reply.status == INSIDE}
    assert accepted == set(product(["GET", "HEAD"], ["/", "/?x=/"]))


ACCEPTED_WAYS: list[str | bytes] = [
    f"Authorization: Bearer {KEY}",
    f"authorization: bearer {KEY}",
    f"AUTHORIZATION: BEARER {KEY}",
    # The form in Maritaca's documentation.
    f"Authorization: Key {KEY}",
    f"Authorization: kEY {KEY}",
    f"Authorization:   Bearer   {KEY}  ",
    # The form that Anthropic's clients send.
    f"x-api-key: {KEY}",
    f"X-API-Key: {KEY}",
    # As curl sends it from a terminal, and as Python's http.client does.
    "Authorization: Bearer chavé".encode(),
    "Authorization: Bearer chavé".encode("latin-1"),
    "x-api-key: chavé".encode(),
]

REJECTED_WAYS: dict[str, list[tuple[str | bytes, ...]]] = {
    MISSING: [
        (),
        ("Authorization:",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer   ",),
        ("Authorization: Key",),
        ("x-api-key:",),
        # A key without a scheme, or with another scheme, is not accepted.
        (f"Authorization: {KEY}",),
        (f"Authorization: Basic {KEY}",),
        (f"Authorization: Bearer:{KEY}",),
        (f"X-Authorization: Bearer {KEY}",),
        (f"Cookie: x-api-key={KEY}",),
    ],
    WRONG: [
        (f"Authorization: Bearer {KEY}x",),
        (f"Authorization: Bearer {KEY} {KEY}",),
        (f"Authorization: Bearer {KEY},",),
        (f'Authorization: Bearer "{KEY}"',),
        (f"Authorization: Bearer {KEY.upper()}",),
        (f"x-api-key: Bearer {KEY}",),
        # The stored digest of a key is not accepted.
        (f"Authorization: Bearer {hash_key(KEY)}",),
        (b"Authorization: Bearer " + bytes(range(0x80, 0x100)),),
        ("Authorization: Bearer " + "x" * 60_000,),
        ("x-api-key: " + KEY * 8_000,),
        # The first credential counts.
        ("Authorization: Bearer wrong", f"x-api-key: {KEY}"),
        ("Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"),
    ],
}


def test_accepted_ways_to_send_a_key() -> None:
    for asked, reply in replies(Authentication(inside, KEYS), product(["POST"], ["/generate"], ACCEPTED_WAYS)).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("message", [MISSING, WRONG])
def test_missing_and_wrong_credentials_are_rejected(message: str) -> None:
    asked: list[Asked] = [("POST", "/generate", *headers) for headers in REJECTED_WAYS[message]]
    for each, reply in replies(Authentication(inside, KEYS), asked).items():
        assert reply.status == 401, each
        assert reply.headers["www-authenticate"] == "Bearer"
        assert message in reply.json["error"]
        # The error does not repeat the key, which would then appear in logs.
        assert KEY not in str(reply)


def test_a_key_in_the_url_is_not_accepted() -> None:
    # It would appear in the log of every proxy.
    assert reply_to(Authentication(inside, KEYS), "POST", f"/generate?api_key={KEY}&key={KEY}").status == 401


def test_x_api_key_is_accepted_beside_other_credentials() -> None:
    # A proxy may require credentials of its own.
    headers = ("Authorization: Basic dTpw", f"x-api-key: {KEY}")
    assert reply_to(Authentication(inside, KEYS), "POST", "/generate", *headers).status == INSIDE


NEEDED = "This server needs an API key. Send it as `Authorization: Bearer KEY`."
FORMS: dict[str, dict[str, Any]] = {
    "/generate": {"error": NEEDED},
    "/api/chat/inference": {"detail": NEEDED},
    "/v1/models": {"error": {"message": NEEDED, "type": "UnauthorizedError", "param": None, "code": 401}},
    "/v1/messages": {"type": "error", "error": {"type": "authentication_error", "message": NEEDED}},
    "/metrics": {"error": NEEDED, "detail": NEEDED},
}


def test_an_error_has_the_format_of_its_api() -> None:
    found = replies(Authentication(inside, KEYS), product(["GET"], FORMS))
    assert {asked[1]: reply.json for asked, reply in found.items()} == FORMS


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("header", ["X-Nothing: x", "Authorization: Bearer wrong"])
def test_a_websocket_upgrade_needs_a_key(header: str) -> None:
    for target in ("/v1/realtime", "/generate", "/"):
        assert reply_to(Authentication(inside, KEYS), "GET", target, *UPGRADE, header).status == 401


def test_any_other_upgrade_needs_a_key() -> None:
    assert (
        reply_to(Authentication(inside, KEYS), "GET", "/generate", "Connection: Upgrade", "Upgrade: h2c").status == 401
    )


def test_other_scope_types_pass() -> None:
    """The application has to get lifespan events, which come from no client."""
    seen: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def never(*_: object) -> Any:
        raise AssertionError

    asyncio.run(Authentication(noting, KEYS)({"type": "lifespan"}, never, never))
    assert seen == ["lifespan"]
