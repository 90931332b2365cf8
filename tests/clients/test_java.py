"""Java's `java.net.http`, on which Spring, LangChain4j and others are built. It offers HTTP/2 first."""

import base64
import json
import subprocess

import pytest

from tests.clients.environments import SCRIPTS, environment
from tests.clients.questions import PROMPT
from tests.serving import Server

pytestmark = pytest.mark.clients

ASKED = {"prompt": PROMPT, "max_tokens": 8, "do_sample": False}


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> list[tuple[str, int, str]]:
    """Name, status and body of each response."""
    bodies = json.dumps(ASKED), json.dumps({**ASKED, "stream": True})
    url = f"http://127.0.0.1:{shared_server.port}"
    command = ["java", str(SCRIPTS / "HttpClientOfJava.java"), url, *bodies]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment({}))
    assert result.returncode == 0, result.stderr
    lines = (line.split(" ") for line in result.stdout.splitlines())
    return [(name, int(status), base64.b64decode(body).decode()) for name, status, body in lines]


@pytest.fixture(scope="module")
def output(shared_server: Server) -> str:
    """The answer that another client receives."""
    text: str = shared_server.ask("/generate", ASKED).json["output"]
    assert text
    return text


def test_the_status_is_idle(reported: list[tuple[str, int, str]]) -> None:
    assert ("status", 200, '{"status":"idle"}') in reported


@pytest.mark.parametrize("how", ["plain", "chunked"])
def test_a_request_returns_the_answer(reported: list[tuple[str, int, str]], output: str, how: str) -> None:
    ((status, body),) = [(status, body) for name, status, body in reported if name == how]
    assert (status, json.loads(body)["output"]) == (200, output)


def test_a_stream_has_the_same_answer(reported: list[tuple[str, int, str]], output: str) -> None:
    ((status, body),) = [(status, body) for name, status, body in reported if name == "streamed"]
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    assert (status, "".join(event["text"] for event in events[:-1]), events[-1]["output"]) == (200, output, output)


def test_concurrent_requests_reuse_connections(reported: list[tuple[str, int, str]]) -> None:
    assert [status for name, status, _ in reported if name == "several"] == [200] * 8
