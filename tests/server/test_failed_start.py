"""A failed start of the real engine: one sentence gives the cause, to waiting clients too, and no process remains.

Other causes: test_stub_engine_start.py; vLLM's messages for them: tests/engine/test_startup_errors.py.
"""

from pathlib import Path

import pytest

from tests.server.test_stop import assert_nothing_left
from tests.service_manager import service_manager
from tests.serving import Server


@pytest.mark.engine
@pytest.mark.core
def test_a_failed_start_reports_its_cause(tmp_path: Path, prepared_cache: Path) -> None:
    """A cause that the engine's process detects and writes only to its log.

    In float32 and bfloat16, the cache holds fewer tokens than the server starts again with.
    """
    says = "one request of 8192 tokens needs 0."
    with service_manager(str(tmp_path / "notify")) as manager:
        flags = ("--", "--kv-cache-memory-bytes", "50000000")
        server = Server(tmp_path, "--cache-dir", str(prepared_cache), *flags)
        server.wait_for_port()
        held = server.ask("/generate", {"prompt": "1 2 3"})
        server.process.wait(timeout=120)
        _, notified = manager.received()
    error = server.stderr.read_text()
    assert server.process.returncode == 7
    assert says in error
    assert error.count("\n") == 1
    assert "pydantic" not in error
    assert held.status == 503
    assert error == f"maritalk-serve: {held.json['error']}\n"
    assert notified.startswith("STOPPING=1\nSTATUS=")
    assert says in notified
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
"""Scheduler classes for `--scheduler-cls` that end the engine at its first step."""


@pytest.mark.engine
@pytest.mark.nightly  # by day: test_stub_engine_start.py
@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        ("Raises", "the first step failed"),
        ("Killed", "the engine's process was killed by SIGKILL"),
    ],
)
def test_an_engine_that_dies_during_warm_up_fails_the_start(
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
