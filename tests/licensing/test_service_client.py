"""The licence service's protocol: the request, and every response of the service or of something else."""

import gzip
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.rendering import localized
from maritalk_vllm.licensing import service_client
from maritalk_vllm.licensing.service_client import Refused, ServiceClient, Unreachable
from tests.answering import Request, answering
from tests.serving import UNREACHABLE_URL

KEY = "ABCDE-FGHJK-MNPQR-STUVW"
LINK = "https://example.org/weights?signature=0"


def respond(status: int = 200, content: object = None, kind: str = "application/json") -> Callable[[Request], None]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda request: request.reply(status, body, content_type=kind)


def test_request() -> None:
    with answering(respond(content={"presigned_url": LINK, "model_size": "small"})) as server:
        ServiceClient(server.url + "/", "12.2").request(KEY)
        ServiceClient(server.url, None).request(KEY, "medium")
    first, second = server.requests
    assert (first.command, first.path) == ("POST", "/local/download")
    assert first.headers["content-type"] == "application/json"
    assert json.loads(first.content) == {"license": KEY, "cuda_version": "12.2"}
    assert "prefer" not in first.headers
    assert json.loads(second.content) == {"license": KEY, "cuda_version": None}
    assert second.headers["prefer"] == "artifact=weights, model=medium"


def test_complete_response() -> None:
    content = {
        "presigned_url": LINK,
        "model_size": "small",
        "models": ["small", "demo"],
        "licensee": "ACME",
        "expires": "2027-01-31T00:00:00+00:00",
        "size": 5,
        "sha256": "ab",
        "more": 1,
    }
    with answering(respond(content=content)) as server:
        response = ServiceClient(server.url, "12.2").request(KEY)
    assert (response.models, response.licensee, response.url) == (("small", "demo"), "ACME", LINK)
    assert (response.expires, response.size, response.sha256) == (datetime(2027, 1, 31, tzinfo=UTC), 5, "ab")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (respond(401, {"error": "This key is unknown."}), "This key is unknown."),
        (respond(403, {"message": f"Key {KEY} was revoked"}), "Key ... was revoked."),
        (respond(404, {"detail": "no such key"}), "no such key"),
        (respond(400, b"Invalid license", "text/plain"), "Invalid license."),
        (respond(402, b"", "text/plain"), "does not say why"),
        (respond(200, {"error": "wrong"}), "refuses this key: wrong."),
        (respond(200, {}), "does not say why"),
    ],
)
def test_rejected_keys(reply: Callable[[Request], None], message: str) -> None:
    with answering(reply) as server, pytest.raises(Refused, match=message) as error:
        ServiceClient(server.url, "12.2").request(KEY)
    assert error.value.exit_code == 3
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (respond(500, {"error": "x"}), "it answers 500"),
        (respond(429, {"error": "x"}), "it answers 429"),
        (respond(200, b"<html>Log in</html>", "text/html; charset=utf-8"), "it answers text/html instead of JSON"),
        (respond(403, b"<html>Blocked</html>", "text/html"), "it answers 403"),
        (respond(404, b"404 page not found", "text/plain"), "it answers 404"),
        (respond(302, b"", "text/html"), "it answers 302"),
        (respond(204, b""), "it answers 204"),
        (respond(200, b"\xff\x00"), "instead of JSON"),
        (respond(200, b"[1]"), "instead of JSON"),
        (respond(200, {"presigned_url": LINK}), "makes no sense"),
        (respond(200, {"presigned_url": 3, "model_size": "small"}), "makes no sense"),
        (respond(200, {"presigned_url": "file:///etc/passwd", "model_size": "small"}), "makes no sense"),
        (respond(200, {"presigned_url": LINK, "model_size": None}), "makes no sense"),
        (respond(200, {"presigned_url": LINK, "model_size": "small", "expires": "soon"}), "makes no sense"),
        (respond(200, {"presigned_url": LINK, "model_size": "small", "expires": 3}), "makes no sense"),
        (respond(200, {"presigned_url": LINK, "model_size": "small", "size": "x"}), "makes no sense"),
        (respond(200, b"x" * 100_000), "longer than 64 KiB"),
        (respond(200, b"[" * 60_000), "instead of JSON"),
        (respond(200, b'{"presigned_url": "http://x", "model_size": "small", "size": 1e999}'), "makes no sense"),
        (respond(200, {"presigned_url": LINK, "model_size": "small", "size": -5}), "makes no sense"),
        (respond(200, {"presigned_url": "http://x:99999/", "model_size": "small"}), "makes no sense"),
        (respond(200, {"presigned_url": "http://xn--zzzz/", "model_size": "small"}), "makes no sense"),
        (lambda request: request.reply(200, gzip.compress(bytes(1 << 26)), content_encoding="gzip"), "encoding 'gzip'"),
        (lambda request: request.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000), "cannot be asked"),
        (lambda request: request.begin(302, location="file:///etc/passwd", content_length=0), "it answers 302"),
        (lambda request: request.connection.shutdown(socket.SHUT_RDWR), "cannot be asked"),
    ],
)
def test_invalid_responses(reply: Callable[[Request], None], message: str) -> None:
    with answering(reply) as server, pytest.raises(Unreachable, match=message) as error:
        ServiceClient(server.url, "12.2").request(KEY)
    assert error.value.exit_code == 10
    assert KEY not in str(error.value)


def test_unreachable_service() -> None:
    with pytest.raises(Unreachable, match="cannot be asked about this key"):
        ServiceClient(UNREACHABLE_URL, None).request(KEY)
    for url in ("functions.maritaca.ai", "ftp://x", "file:///etc/passwd", "", "http://", "http://x:99999"):
        with pytest.raises(Unreachable):
            ServiceClient(url, None).request(KEY)
    with pytest.raises(UsageError, match="is no address"):
        ServiceClient("http://x:port", None).request(KEY)


def test_a_key_for_the_service_of_maritalk_local_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner would look for a fault of the network otherwise."""
    with answering(respond(403, {"error": "no"})) as server:
        for url, error in ((server.url, Refused), (UNREACHABLE_URL, Unreachable)):
            monkeypatch.setattr(service_client, "MARITALK_LOCAL_SERVICE", url)
            with pytest.raises(error) as caught:
                ServiceClient(f"{url}/", None).request(KEY)
            assert caught.value.hint.startswith("A key of MariTalk Local brings no weights to this server. Use --model")
            assert "--model qwen3-4b" in caught.value.hint
        monkeypatch.undo()
        with pytest.raises(Refused) as caught:
            ServiceClient(server.url, None).request(KEY)
        assert caught.value.hint == "Ask for another licence."


def test_name_without_an_address() -> None:
    # Longer than any name in the DNS: the resolver rejects it without a query.
    with pytest.raises(Unreachable, match=r"it cannot be reached \(its name was not found in the DNS\)\.") as error:
        ServiceClient(f"http://{'a.' * 130}example", None).request(KEY)
    choose(Language.PORTUGUESE)
    try:
        assert "(o nome dele não foi encontrado no DNS)." in localized(error.value.message)
    finally:
        choose(Language.ENGLISH)


@pytest.mark.parametrize("behaviour", ["silent", "a byte now and then"])
def test_service_that_never_answers(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_client, "RESPONSE_SECONDS", 0.5)

    def never(request: Request) -> None:
        if behaviour == "silent":
            time.sleep(2)
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"." * 60:
            request.wfile.write(bytes([byte]))
            time.sleep(0.02)

    with answering(never) as server, pytest.raises(Unreachable, match="does not answer within"):
        began = time.monotonic()
        ServiceClient(server.url, None).request(KEY)
    assert time.monotonic() - began < 5


def test_port_without_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.listen()
        import threading

        def speak() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            connection.close()

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(Unreachable):
            ServiceClient(f"http://127.0.0.1:{listener.getsockname()[1]}", None).request(KEY)
        thread.join()
