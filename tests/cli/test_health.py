"""`maritalk-vllm health` against real sockets, in every phase of a server."""

import asyncio
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from maritalk_vllm.http.listener import listen
from maritalk_vllm.http.uvicorn_server import WebServer, config
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.probes import Probes
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import Settings
from tests.cli.test_config import run_tool
from tests.server.test_tls import Authority
from tests.serving import free_port


def health(
    phase: Phase, settings: Settings | None = None, host: str = "127.0.0.1", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Result of the command for a server in this phase."""

    async def scenario() -> "subprocess.CompletedProcess[str]":
        async def never(*_: object) -> None:
            raise AssertionError("asked for more than a probe")

        listener = listen(host, 0)
        access = AccessConfig.from_settings(settings or Settings())
        server = WebServer(config(Probes(never, ServerState(phase)), access.identity(), lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            environment["MARITALK_PORT"] = str(listener.getsockname()[1])
            return await asyncio.to_thread(run_tool, "health", **environment)
        finally:
            server.should_exit = True
            await serving

    return asyncio.run(scenario())


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.READY, Phase.DRAINING])
def test_alive(phase: Phase) -> None:
    result = health(phase)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{phase}\n", "")


def test_failed() -> None:
    result = health(Phase.FAILED)
    assert (result.returncode, result.stdout) == (1, "")
    assert " is not alive: 503." in result.stderr


def test_another_program() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as other:
        answering = threading.Thread(target=other.handle_request)
        answering.start()
        result = run_tool("health", MARITALK_PORT=str(other.server_port))
        answering.join()
    assert (result.returncode, result.stdout) == (1, "")
    assert "is another program." in result.stderr


def test_health_ignores_proxies() -> None:
    assert health(Phase.READY, http_proxy="http://127.0.0.1:9", all_proxy="http://127.0.0.1:9").returncode == 0


def test_https(tmp_path: Path) -> None:
    """The certificate's name does not match the loopback address."""
    settings = Authority().certify(tmp_path)
    asked = health(Phase.READY, settings, "127.0.0.2", MARITALK_HOST="127.0.0.2", MARITALK_SSL_CERTFILE="cert.pem")
    assert (asked.returncode, asked.stdout) == (0, "ready\n")


@pytest.mark.parametrize("host", ["::", "::1"])
def test_health_of_other_listen_addresses(host: str) -> None:
    assert health(Phase.READY, host="::1", MARITALK_HOST=host).stdout == "ready\n"


def test_health_without_a_server() -> None:
    port = free_port()
    result = run_tool("health", "--port", str(port))
    assert result.returncode == 1
    assert result.stderr == f"maritalk-vllm: No server answers at http://127.0.0.1:{port}.\n"


def test_health_needs_a_fixed_port() -> None:
    assert run_tool("health", "--port", "0").returncode == 2


def test_a_model_is_no_argument() -> None:
    result = run_tool("health", "small")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Unexpected argument: small." in result.stderr


def test_help_is_about_the_server_that_is_asked() -> None:
    for language, address in (("en", "Address of the server."), ("pt", "Endereço do servidor.")):
        for command in ("health", "reload"):
            text = " ".join(run_tool(command, "--help", "--lang", language).stdout.split())
            assert (address in text) == (command == "health")
            assert "to listen on" not in text and "escutar" not in text
