"""Starts with closed standard streams, a low limit of open files, and a very large configuration."""

import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.stub_engine.server import COMMAND, StubServer

KEYS = [f"key-{number:04}" for number in range(2000)]
DESCRIPTORS = 512


class LimitedServer(StubServer):
    """Started with stdin and stderr closed, and with the lowest supported limit of open files."""

    program = ("bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@" <&- 2>&-', "bash", *COMMAND)


class SilentServer(StubServer):
    """Started with all three standard streams closed, as some service managers do."""

    program = ("bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *COMMAND)


def status(server: StubServer, key: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/generate", b'{"prompt": "1", "max_tokens": 1}')
    request.add_header("Authorization", f"Bearer {key}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_stub_engine_serves_with_few_descriptors_and_a_large_configuration(tmp_path: Path) -> None:
    """The flags for vLLM are longer than a command line may be; the stub engine ignores them."""
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"api_key": KEYS, "engine_args": ["--tokenizer-revision", "x" * 3_000_000]}))
    with LimitedServer(tmp_path, "--config", str(config)) as server:
        server.wait_until_ready()
        assert f"at most {DESCRIPTORS - 256} connections at once" in server.stdout.read_text()
        assert [status(server, key) for key in (KEYS[0], KEYS[-1], "key-2000")] == [200, 200, 401]
        # A little fewer than the limit of simultaneous connections.
        together = threading.Barrier(200)

        def ask(number: int) -> int:
            together.wait()
            return status(server, KEYS[number])

        with ThreadPoolExecutor(200) as pool:
            assert set(pool.map(ask, range(200))) == {200}
        server.stop()
        assert server.process.returncode == 0


def test_a_stub_engine_serves_with_closed_standard_streams(tmp_path: Path) -> None:
    with SilentServer(tmp_path) as server:
        server.wait_for_port()
        # The request waits until the engine is ready.
        assert server.ask("/generate", {"prompt": "1", "max_tokens": 1}).status == 200
        assert (server.stdout.read_text(), server.stderr.read_text()) == ("", "")
        server.stop()
        assert server.process.returncode == 0
