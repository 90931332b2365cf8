"""A real engine that does not start says why in one sentence, also to those who wait, and leaves nothing behind.

Other causes: test_stub_engine_start.py; vLLM's own words for them: tests/engine/test_startup_errors.py.
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
        _, told = manager.received()
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


DYING = """
import os
import signal

from vllm.v1.core.sched.scheduler import Scheduler


class Raises(Scheduler):
    def schedule(self, *arguments, **options):
        raise ValueError("the first step failed")


class Killed(Scheduler):
    def schedule(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Schedulers that vLLM loads by their names, and that end the engine at its first step."""


@pytest.mark.engine
@pytest.mark.parametrize(
    ("scheduler", "says"),
    [("Raises", "the first step failed"), ("Killed", "the engine's process was killed by SIGKILL")],
)
def test_an_engine_that_dies_in_the_warm_up(
    tmp_path: Path, prepared_cache: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str, says: str
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    flags = ["--", "--scheduler-cls", f"dying.{scheduler}", "--no-async-scheduling"]
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), *flags)
    assert server.process.wait(timeout=240) == 7
    error = server.stderr.read_text()
    assert "Warming up..." in server.stdout.read_text()
    assert error.startswith(f"maritalk-serve: vLLM failed to start: {says}.")
    assert error.count("\n") == 1
    assert_nothing_left(server)
