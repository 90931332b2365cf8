"""A real engine that does not start says why in one sentence, also to those who wait, and leaves nothing behind.

Other causes: test_stub_engine_start.py; vLLM's own words for them: tests/engine/test_failure.py.
"""

from pathlib import Path

import pytest

from tests.server.test_stop import assert_nothing_left
from tests.service_manager import service_manager
from tests.serving import Server


@pytest.mark.engine
@pytest.mark.core
def test_the_cause_is_told(tmp_path: Path, prepared_cache: Path) -> None:
    """One that the engine's process finds, and tells in its log alone."""
    says = "one request of 8192 tokens needs 0."
    with service_manager(str(tmp_path / "notify")) as manager:
        flags = ("--", "--kv-cache-memory-bytes", "100000000")
        server = Server(tmp_path, "--cache-dir", str(prepared_cache), *flags)
        server.wait_for_port()
        held = server.ask("/generate", {"prompt": "1 2 3"})
        server.process.wait(timeout=120)
        _, told = manager.heard()
    error = server.stderr.read_text()
    assert server.process.returncode == 7
    assert says in error
    assert error.count("\n") == 1
    assert "pydantic" not in error
    assert held.status == 503
    assert error == f"maritalk-serve: {held.json['error']}\n"
    assert told.startswith("STOPPING=1\nSTATUS=")
    assert says in told
    assert_nothing_left(server)
