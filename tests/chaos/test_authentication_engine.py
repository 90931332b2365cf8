"""Authentication on the real engine: every route needs a key, and no secret is shown. Also request logs and traces."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from maritalk_vllm.models import demo_model
from maritalk_vllm.playground.page_middleware import Page
from maritalk_vllm.settings import TimeUnit
from tests.answering import Answering, answering
from tests.demo_model import PROFILE
from tests.lanes import nightly
from tests.licensing.keys import Keys
from tests.serving import READY_SECONDS, Server, until

pytestmark = pytest.mark.chaos

KEY = "chave-secreta-4f9d2c"
FILE_KEY = "outra-chave-7a1b3e"
MAX_REQUESTS = 4
"""Requests that the engine accepts at once."""

PROBES = {"/livez", "/readyz", "/health"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Answering]:
    """A stand-in for an OpenTelemetry collector, which keeps the traces that it receives."""
    with answering(lambda request: request.reply(200)) as server:
        yield server


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def licence(keys: Keys) -> str:
    """A signed licence for the demo model."""
    return keys.license("demo")


@pytest.fixture(scope="module")
def server(
    collector: Answering, keys: Keys, licence: str, prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("authentication")
    (folder / "keys").write_text(f"# of the test\n{FILE_KEY}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARITALK_API_KEY", KEY)
        patch.setenv("MARITALK_LICENSE", licence)
        options = ["--cache-dir", str(prepared_cache), "--api-key-file", str(folder / "keys"), "--log-format", "json"]
        # One key may use all that the engine accepts: a test sends more than that.
        options += ["--answers-per-key", "1000"]
        options += ["--otlp-traces-endpoint", f"{collector.url}/v1/traces", "--license-public-key", str(keys.public)]
        running = Server(folder, *options, "--", "--max-num-queued-reqs", str(MAX_REQUESTS), license=None)
    try:
        # The server requires keys while it loads, too.
        running.wait_for_port()
        assert send(running, "POST", "/generate") == 401
        assert send(running, "GET", "/livez") == 200
        running.wait_until_ready()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def routes(prepared_cache: Path) -> list[tuple[str, str]]:
    command: list[str | Path] = [sys.executable, "-m", "tests.chaos.routes", demo_model.folder(PROFILE, prepared_cache)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = [tuple(each) for each in json.loads(result.stdout.splitlines()[-1])]
    assert {"/generate", "/v1/chat/completions", "/metrics/", "/docs", "/tokenize"} <= {path for path, _ in found}
    return found


def send(server: Server, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    if method == "WEBSOCKET":
        method = "GET"
        headers |= {"Connection": "Upgrade", "Upgrade": "websocket"}
        headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    try:
        connection.request(method, re.sub(r"\{.*?\}", "x", path), headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.nightly  # by day: tests/server/middleware/test_authentication.py
def test_every_route_rejects_requests_without_a_key(server: Server, routes: list[tuple[str, str]]) -> None:
    for path, method in routes:
        if path in PROBES and method == "GET":
            continue  # vLLM has a probe of this name
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"x-api-key": "x"}):
            assert send(server, method, path, **headers) == 401, (method, path, headers)


def test_unknown_paths_reject_requests_without_a_key(server: Server) -> None:
    for path in ("/", "/nothing", "/start_profile", "/collective_rpc", "/livez/", "//livez", "/livez/../metrics"):
        assert send(server, "GET", path) == 401, path
    for path in PROBES:
        assert send(server, "GET", path) == 200
        assert send(server, "POST", path) == 401


def test_only_the_files_of_the_page_need_no_key(server: Server) -> None:
    async def inside(*_: object) -> None:
        """The application below the page's middleware."""

    page = Page(inside, TimeUnit.MILLISECONDS).paths
    assert {"/chat", "/chat/js/main.js", "/chat/server.json"} <= page
    for path in page:
        assert send(server, "GET", path) == 200, path
        assert send(server, "HEAD", path) == 200, path
        assert send(server, "POST", path) == 401, path
    for path in ("/chat/", "/chat/generate", "/chat/nothing", "/chat/js", "/chat/js/../generate", "/chat/vendor/"):
        assert send(server, "GET", path) == 401, path
    assert send(server, "GET", "/", Accept="text/html") == 307


@pytest.mark.parametrize("key", [KEY, FILE_KEY])
def test_a_valid_key_is_accepted_in_each_header(server: Server, key: str) -> None:
    for header, value in (("Authorization", f"Bearer {key}"), ("Authorization", f"Key {key}"), ("x-api-key", key)):
        for path in ("/", "/metrics", "/v1/models", "/docs", "/openapi.json"):
            assert send(server, "GET", path, **{header: value}) == 200, path


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        nightly("/generate", {"prompt": "1 2 3"}, ["error"]),
        nightly("/api/chat/inference", {"messages": "1 2 3"}, ["detail"]),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "1"}]}, ["error", "message"]),
    ],
)
def test_a_full_queue_answers_503_in_the_form_of_each_api(
    server: Server, path: str, body: dict[str, object], words: list[str]
) -> None:
    """Requests beyond the limit are rejected at once, with Retry-After. The others are answered."""

    def ask() -> tuple[int, str | None, object]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps({**body, "max_tokens": 24}), headers)
            reply = connection.getresponse()
            return reply.status, reply.headers.get("Retry-After"), json.loads(reply.read())
        finally:
            connection.close()

    with ThreadPoolExecutor(4 * MAX_REQUESTS) as pool:
        seen = list(pool.map(lambda _: ask(), range(4 * MAX_REQUESTS)))
    assert {status for status, _, _ in seen} == {200, 503}
    assert sum(status == 200 for status, _, _ in seen) >= MAX_REQUESTS
    for status, retry_after, error in seen:
        if status == 503:
            assert int(retry_after or 0) >= 1
            for word in words:
                error = error[word]  # type: ignore[index]
            assert isinstance(error, str)


def test_vllms_development_routes_are_not_served(server: Server) -> None:
    for path in ("/start_profile", "/collective_rpc", "/reset_prefix_cache", "/sleep", "/server_info"):
        for method in ("GET", "POST"):
            assert send(server, method, path, Authorization=f"Bearer {KEY}") == 404, path


def post(server: Server, path: str, body: dict[str, object], **headers: str) -> dict[str, str]:
    """POST with a key, and return the headers of the response, which must be 200."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers |= {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200
        return {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()


CHAT = {"messages": [{"role": "user", "content": "segredo"}], "max_tokens": 5}


def logged(server: Server, request_id: str) -> dict[str, Any]:
    """The request's line in the log, which another process writes a little later."""

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in server.engine_log.read_text().splitlines() if line.startswith("{")]
        return [each for each in lines if each.get("request_id") == request_id]

    until(found, "the request's line in the log")
    (line,) = found()
    return line


@pytest.mark.parametrize("path", ["/chat/generate", "/v1/chat/completions"])
def test_each_request_has_a_json_line_in_the_log(server: Server, path: str) -> None:
    answered = post(server, path, CHAT)
    line = logged(server, answered["x-request-id"])
    assert (line["status"], line["completion_tokens"]) == (200, 5)
    assert line["prompt_tokens"] > 5
    assert line["generation_time"] > 0
    assert "segredo" not in server.engine_log.read_text()
    assert post(server, path, CHAT, **{"X-Request-Id": "minha-1"})["x-request-id"] == "minha-1"


@pytest.mark.parametrize("path", ["/chat/generate", "/v1/chat/completions"])
def test_a_trace_spans_client_server_and_engine(server: Server, collector: Answering, path: str) -> None:
    trace = os.urandom(16).hex()
    post(server, path, CHAT, traceparent=f"00-{trace}-{os.urandom(8).hex()}-01")
    deadline = time.monotonic() + 30
    while True:
        spans = spans_of(collector, trace)
        ours = {span.span_id for span in spans if span.name == f"POST {path}"}
        if engine := [span for span in spans if span.name == "llm_request" and span.parent_span_id in ours]:
            assert {attribute.key for attribute in engine[0].attributes} >= attributes_in_the_documents()
            assert not any(b"segredo" in span.SerializeToString() for span in spans)
            return
        assert time.monotonic() < deadline, [(span.name, span.span_id, span.parent_span_id) for span in spans]
        time.sleep(0.2)


def attributes_in_the_documents() -> set[str]:
    """The attributes of vLLM's span that docs/observability.md names."""
    page = (Path(__file__).parent.parent.parent / "docs" / "observability.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith("| `llm_request`"))
    return set(re.findall(r"`(gen_ai[\w.]+)`", row))


def spans_of(collector: Answering, trace: str) -> list[Span]:
    found = []
    for request in list(collector.requests):
        sent = ExportTraceServiceRequest.FromString(request.content)
        found += [span for each in sent.resource_spans for scope in each.scope_spans for span in scope.spans]
    return [span for span in found if span.trace_id.hex() == trace]


def test_no_file_response_or_process_shows_a_secret(server: Server, licence: str, prepared_cache: Path) -> None:
    """Except the supervisor's own environment, which the caller set."""
    secrets = [KEY, FILE_KEY, licence, licence.rpartition(".")[2]]
    folders = [server.stdout.parent, prepared_cache, Path(os.environ["HOME"])]
    written = [file for folder in folders for file in folder.rglob("*") if file.is_file() and file.name != "keys"]
    assert {server.stdout, server.stderr, server.engine_log} <= set(written)
    for file in written:
        if file.suffix != ".safetensors":
            content = file.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), file
    metrics = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    metrics.request("GET", "/metrics", headers={"Authorization": f"Bearer {KEY}"})
    text = metrics.getresponse().read()
    metrics.close()
    assert not any(secret.encode() in text for secret in secrets)
    for pid, line in server.processes().items():
        assert not any(secret in line for secret in secrets)
        if pid != server.process.pid:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert not any(secret.encode() in environment for secret in secrets)


@pytest.mark.nightly
def test_the_engine_is_restarted_without_the_files_of_the_start(server: Server, prepared_cache: Path) -> None:
    """Key file, log's disk, temporary folder, model: the server works on, restarts the engine and reports problems."""
    keys, log, model = server.stdout.parent / "keys", server.engine_log, demo_model.folder(PROFILE, prepared_cache)
    (fork_server,) = (pid for pid, line in server.processes().items() if line.startswith("maritalk: nursery"))
    environment = Path(f"/proc/{fork_server}/environ").read_bytes().split(b"\0")
    (temporary,) = (Path(each[7:].decode()) for each in environment if each.startswith(b"TMPDIR="))
    keys.unlink()
    log.unlink()
    log.symlink_to("/dev/full")  # a disk that is full
    shutil.rmtree(temporary)
    shutil.rmtree(model)
    until(
        lambda: len(problems(server)) == 3 and temporary.is_dir(),
        "the problems are reported, and the folder is created again",
    )
    assert generates(server, FILE_KEY) == generates(server, KEY) == 200
    (engine,) = (pid for pid, line in server.processes().items() if line.startswith("VLLM::EngineCore"))
    os.kill(engine, signal.SIGKILL)
    until(lambda: server.stdout.read_text().count("Listening on http://") == 2, "ready again", READY_SECONDS)
    assert generates(server, FILE_KEY) == generates(server, KEY) == 200
    assert model.is_dir()
    until(lambda: len(problems(server)) == 2, "the problems of the keys and the log remain")
    log.unlink()
    keys.write_text("")
    until(lambda: generates(server, FILE_KEY) == 401, "the file's key is revoked")
    assert generates(server, KEY) == 200
    until(lambda: len(problems(server)) == 1, "the log is writable again")
    assert "bytes of this log were lost" in log.read_text()
    keys.write_text(f"{FILE_KEY}\n")
    until(lambda: generates(server, FILE_KEY) == 200 and not problems(server), "no problem remains")


def problems(server: Server) -> list[str]:
    return list(server.ask("/readyz").json.get("problems", []))


def generates(server: Server, key: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        body = json.dumps({"prompt": "1 2 3", "max_tokens": 2})
        connection.request("POST", "/generate", body, {"Authorization": f"Bearer {key}"})
        return connection.getresponse().status
    finally:
        connection.close()
