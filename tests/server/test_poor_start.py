"""A start with little of what others have, and much to pass on: no stdin, few open files, thousands of API keys."""

import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.serving import Server

KEYS = [f"key-{number:04}" for number in range(2000)]
DESCRIPTORS = 512


def status(server: Server, key: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/models")
    request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.engine
def test_it_serves(tmp_path: Path, prepared_cache: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"api_key": KEYS, "cache_dir": str(prepared_cache)}))
    # And a long one for vLLM itself, which does nothing with it.
    flags = ["--", "--additional-config", f'{{"unused": "{"x" * 100_000}"}}']
    poor = ["bash", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@" <&- 2>&-', "bash"]
    server = Server(tmp_path, "--config", str(config), *flags, via=poor)
    try:
        server.wait_until_ready()
        assert f"at most {DESCRIPTORS - 256} connections at once" in server.stdout.read_text()
        assert [status(server, key) for key in (KEYS[0], KEYS[-1], "key-2000")] == [200, 200, 401]
        # As many at once as there are connections for.
        together = threading.Barrier(200)

        def ask(number: int) -> int:
            together.wait()
            return status(server, KEYS[number])

        with ThreadPoolExecutor(200) as pool:
            assert set(pool.map(ask, range(200))) == {200}
    finally:
        server.stop()
    assert server.process.returncode == 0
