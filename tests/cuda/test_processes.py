"""Processes on a host with GPUs: a dead engine is restarted, and none outlives the supervisor."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cuda.host import READY_SECONDS, CudaServer, Host
from tests.server.process.test_process_tree import assert_ends_with_its_supervisor
from tests.server.test_stop import ENGINE
from tests.serving import until

pytestmark = pytest.mark.cuda


def test_a_dead_engine_is_restarted_and_no_process_outlives_the_supervisor(
    host: Callable[[str], Host], split_model: Path, tmp_path: Path
) -> None:
    """With two workers below the engine."""
    machine = host("2xH100")
    arguments = ("--model", str(split_model), "--tensor-parallel-size", "2")
    server = CudaServer(machine, tmp_path, *arguments)
    try:
        server.wait_until_ready()
        assert sum("VLLM::Worker" in line for line in server.processes().values()) == 2
        (engine,) = (pid for pid, line in server.processes().items() if line.startswith(ENGINE))
        os.kill(engine, signal.SIGKILL)
        until(lambda: server.stdout.read_text().count("Listening on http://") == 2, "ready again", READY_SECONDS)
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).status == 200
        assert_ends_with_its_supervisor(server)
    finally:
        server.stop()
    assert machine.initialised_by() == []
