"""The door, over real sockets: with keys set, nothing but the probes is open to those who bring none."""

import asyncio
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.server.middleware.api_keys import ApiKeys, hash_key
from maritalk_vllm.server.middleware.authentication import Authentication
from tests.server.loading.test_loading_app import running
from tests.server.wire import Reply, wire

KEY = "chave-1"
LOCKED = ApiKeys([hash_key(KEY), hash_key("chavé")])
OPEN = ApiKeys([])
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
# What some proxy or router might take for a probe.
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
    """What lies behind the door. It answers with the path that it sees."""
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": INSIDE, "headers": headers})
    await send({"type": "http.response.body", "body": body})


Asked = tuple[str, str, *tuple[str | bytes, ...]]
"""A method, a target, and headers."""


def replies(door: Authentication, requests: Iterable[Asked], body: bytes = b"") -> dict[Asked, Reply]:
    """What comes of requests, one after the other on one connection: no answer may shift into the next."""

    async def scenario() -> dict[Asked, Reply]:
        found = {}
        async with running(door) as url, wire(url) as line:
            for asked in requests:
                await line.ask(*asked, f"Content-Length: {len(body)}", body=body)
                found[asked] = await line.reply(to=asked[0])
        return found

    return asyncio.run(scenario())


def one(door: Authentication, *asked: *Asked) -> Reply:
    return replies(door, [asked])[asked]


MISSING = "needs an API key"
WRONG = "not one of this server's"


def test_without_keys_everything_is_open() -> None:
    for asked, reply in replies(Authentication(inside, OPEN), product(METHODS, PATHS + NEARLY_PROBES)).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("header", ["X-Nothing: x", "Authorization: Bearer wrong", "x-api-key: wrong"])
def test_with_keys_every_route_is_shut_to_every_method(header: str) -> None:
    # Even to OPTIONS: there is no page elsewhere that a browser should let ask.
    for asked, reply in replies(
        Authentication(inside, LOCKED), product(METHODS, PATHS + NEARLY_PROBES, [header]), b"{}"
    ).items():
        assert reply.status == 401, asked
        assert reply.headers["www-authenticate"] == "Bearer"
        assert bool(reply.body) is (asked[0] != "HEAD")


def test_with_a_key_every_route_is_open() -> None:
    key = f"Authorization: Bearer {KEY}"
    for asked, reply in replies(Authentication(inside, LOCKED), product(METHODS, PATHS, [key])).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("open_status", [False, True])
def test_only_to_look_at_a_probe_needs_no_key(open_status: bool) -> None:
    # `/%6civez` is `/livez` to all that come after: a path is decoded once, before the door.
    probes = ["/livez", "/readyz", "/health", "/livez?verbose", "/%6civez", "http://elsewhere/livez"]
    door = Authentication(inside, LOCKED, open_status=open_status)
    for asked, reply in replies(door, product(METHODS, probes)).items():
        assert reply.status == (INSIDE if asked[0] in ("GET", "HEAD") else 401), asked
        if asked[0] == "GET":
            assert reply.body in (b"/livez", b"/readyz", b"/health")


def test_the_status_is_open_only_where_it_is_set_so() -> None:
    shut, opened = (Authentication(inside, LOCKED, open_status=each) for each in (False, True))
    assert {reply.status for reply in replies(shut, product(METHODS, ["/"])).values()} == {401}
    found = replies(opened, product(METHODS, ["/", "//", "/?x=/", "/%2f", "/.", "/generate"]))
    let_in = {asked for asked, reply in found.items() if reply.status == INSIDE}
    assert let_in == set(product(["GET", "HEAD"], ["/", "/?x=/"]))


WAYS: list[str | bytes] = [
    f"Authorization: Bearer {KEY}",
    f"authorization: bearer {KEY}",
    f"AUTHORIZATION: BEARER {KEY}",
    # Maritaca's documents show this one.
    f"Authorization: Key {KEY}",
    f"Authorization: kEY {KEY}",
    f"Authorization:   Bearer   {KEY}  ",
    # Anthropic's clients send this one.
    f"x-api-key: {KEY}",
    f"X-API-Key: {KEY}",
    # As curl sends it from a terminal, and as Python's http.client does.
    "Authorization: Bearer chavé".encode(),
    "Authorization: Bearer chavé".encode("latin-1"),
    "x-api-key: chavé".encode(),
]

WRONG_WAYS: dict[str, list[tuple[str | bytes, ...]]] = {
    MISSING: [
        (),
        ("Authorization:",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer   ",),
        ("Authorization: Key",),
        ("x-api-key:",),
        # A key alone is no credential, nor is one under another scheme.
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
        # What is kept of a key opens nothing.
        (f"Authorization: Bearer {hash_key(KEY)}",),
        (b"Authorization: Bearer " + bytes(range(0x80, 0x100)),),
        ("Authorization: Bearer " + "x" * 60_000,),
        ("x-api-key: " + KEY * 8_000,),
        # The first that says who asks counts.
        ("Authorization: Bearer wrong", f"x-api-key: {KEY}"),
        ("Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"),
    ],
}


def test_ways_to_bring_a_key() -> None:
    for asked, reply in replies(Authentication(inside, LOCKED), product(["POST"], ["/generate"], WAYS)).items():
        assert reply.status == INSIDE, asked


@pytest.mark.parametrize("says", [MISSING, WRONG])
def test_what_opens_nothing(says: str) -> None:
    asked: list[Asked] = [("POST", "/generate", *headers) for headers in WRONG_WAYS[says]]
    for each, reply in replies(Authentication(inside, LOCKED), asked).items():
        assert reply.status == 401, each
        assert reply.headers["www-authenticate"] == "Bearer"
        assert says in reply.json["error"]
        # What was sent is not said again: it would stand in somebody's log.
        assert KEY not in str(reply)


def test_a_key_in_the_address_opens_nothing() -> None:
    # It would stand in every log on the way.
    assert one(Authentication(inside, LOCKED), "POST", f"/generate?api_key={KEY}&key={KEY}").status == 401


def test_a_key_beside_credentials_of_another_kind_counts() -> None:
    # A proxy on the way may want a password of its own.
    headers = ("Authorization: Basic dTpw", f"x-api-key: {KEY}")
    assert one(Authentication(inside, LOCKED), "POST", "/generate", *headers).status == INSIDE


NEEDED = "This server needs an API key. Send it as `Authorization: Bearer KEY`."
FORMS: dict[str, dict[str, Any]] = {
    "/generate": {"error": NEEDED},
    "/api/chat/inference": {"detail": NEEDED},
    "/v1/models": {"error": {"message": NEEDED, "type": "UnauthorizedError", "param": None, "code": 401}},
    "/v1/messages": {"type": "error", "error": {"type": "authentication_error", "message": NEEDED}},
    "/metrics": {"error": NEEDED, "detail": NEEDED},
}


def test_a_refusal_has_the_form_of_its_api() -> None:
    found = replies(Authentication(inside, LOCKED), product(["GET"], FORMS))
    assert {asked[1]: reply.json for asked, reply in found.items()} == FORMS


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("header", ["X-Nothing: x", "Authorization: Bearer wrong"])
def test_an_offer_of_a_websocket_opens_nothing(header: str) -> None:
    for target in ("/v1/realtime", "/generate", "/"):
        assert one(Authentication(inside, LOCKED), "GET", target, *UPGRADE, header).status == 401


def test_an_upgrade_to_something_else_is_a_request_like_any_other() -> None:
    assert one(Authentication(inside, LOCKED), "GET", "/generate", "Connection: Upgrade", "Upgrade: h2c").status == 401


def test_what_is_no_request_goes_through() -> None:
    """The application behind it has to learn that the server begins, and nobody asks for that."""
    seen: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def never(*_: object) -> Any:
        raise AssertionError

    asyncio.run(Authentication(noting, LOCKED)({"type": "lifespan"}, never, never))
    assert seen == ["lifespan"]
