"""`client.start_server()` of the unmodified published client, with our launcher in place of its executable."""

import time
import uuid
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.cli.test_config import run_tool
from tests.clients.environments import run
from tests.clients.questions import MESSAGES
from tests.serving import free_port, marked_processes

pytestmark = pytest.mark.clients

STOP_SECONDS = 10


@pytest.mark.nightly  # by day: the launcher in tests/cli, the client in test_maritalk_local.py
@pytest.mark.parametrize("version", ["0.2.3", "0.2.5", "0.3.2"])
def test_the_client_starts_uses_and_stops_a_server(version: str, prepared_cache: Path, tmp_path: Path) -> None:
    assert run_tool("install-launcher", HOME=str(tmp_path)).returncode == 0
    mark = uuid.uuid4().hex
    variables = {
        "HOME": str(tmp_path),
        "MARITALK_CACHE_DIR": str(prepared_cache),
        "SERVER_UNDER_TEST": mark,
        "SPT_NOENV": "1",
    }
    quietly = {} if version == "0.2.3" else {"verbose": False}
    inputs = {"port": free_port(), "license": EVALUATION_KEY, "messages": MESSAGES, "quietly": quietly}
    reported = run(f"maritalk-{version}", "start_server", inputs, variables)
    assert "Failed to start process" in reported["a wrong licence"]["text"]
    assert "cannot be asked about this key" in reported["a wrong licence"]["text"]
    at_first = ["idle", "loading"] if version == "0.2.3" else ["idle"]
    assert reported["status at first"]["status"] in at_first
    assert reported["status"] == {"status": "idle"}
    assert list(reported["answer"]) == ["output", "queue_time", "prompt_time", "generation_time"]
    deadline = time.monotonic() + STOP_SECONDS
    while left := marked_processes(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
