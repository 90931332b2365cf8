"""A stub engine that does not start: --start-timeout ends the start and reports the step that it had reached."""

import os
import re
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lanes import nightly
from tests.server.test_stop import assert_nothing_left
from tests.stub_engine.server import StubServer

SECONDS = "6"
"""More than a start with a stub engine takes on a busy machine."""

LATE = rf'The engine did not start within {SECONDS} s: the step "%s" took [0-6] s of it\.'


@pytest.mark.parametrize(
    ("actions", "step"),
    [
        nightly({"importing": ["hang"]}, "Importing vLLM"),
        nightly({"preparing": ["hang"]}, "Reading the demo model's weights"),
        ({"loading": ["ignore-sigterm"]}, "Loading the model"),
        ({"warming_up": ["hang"]}, "Warming up"),
    ],
)
def test_a_stub_engine_that_hangs_while_starting_is_stopped(
    tmp_path: Path, actions: dict[str, Sequence[str]], step: str
) -> None:
    """The error has the step, how long it took, and the log's path; a waiting client receives it too."""
    with StubServer(tmp_path, "--start-timeout", SECONDS, **actions) as server, ThreadPoolExecutor() as pool:
        server.wait_for_port()
        held = pool.submit(server.ask, "/generate", {"prompt": "1 2 3"})
        assert server.process.wait(timeout=20) == 7
        error = server.stderr.read_text()
        hint = f" If it only needs longer, raise --start-timeout. Its log: {re.escape(str(server.engine_log))}\n"
        assert re.fullmatch("maritalk-serve: " + LATE % step + hint, error)
        assert (held.result().status, f"maritalk-serve: {held.result().json['error']}\n") == (503, error)
        assert_nothing_left(server)


@pytest.mark.parametrize(
    ("victims", "actions", "step"),
    [
        nightly(["VLLM::"], {"loading": ["go", "hang", "go"]}, "Loading the model", id="loading"),
        (["maritalk: nursery", "VLLM::"], {"importing": ["go", "hang", "go"]}, "Importing vLLM"),
    ],
)
def test_a_restart_of_a_stub_engine_that_hangs_counts_as_failed(
    tmp_path: Path, victims: Sequence[str], actions: dict[str, Sequence[str]], step: str
) -> None:
    """Another attempt follows."""
    with StubServer(tmp_path, "--start-timeout", SECONDS, **actions) as server:
        server.wait_until_ready()
        for victim in victims:
            os.kill(server.pid_of(victim), signal.SIGKILL)
        server.wait_until_ready_again()
        assert re.search(LATE.removesuffix(r"\.") % step + r": starting it again in 1 s\.", server.stdout.read_text())
        (moment,) = actions
        assert len(server.reached(moment)) == 3
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 2}).status == 200
        assert server.stop() < 30
        assert_nothing_left(server)


def test_a_failed_stub_engine_that_does_not_exit_reports_its_cause(tmp_path: Path) -> None:
    """It waits for a child process that does not exit."""
    with StubServer(tmp_path, "--start-timeout", SECONDS, loading=["cling; fail No room."]) as server:
        assert server.process.wait(timeout=20) == 7
        assert server.stderr.read_text().startswith("maritalk-serve: vLLM failed to start: No room. Its log: /")
        assert_nothing_left(server)


def test_a_started_stub_engine_has_no_start_deadline(tmp_path: Path) -> None:
    """With a request that takes longer than --start-timeout."""
    with StubServer(tmp_path, "--start-timeout", SECONDS) as server:
        server.wait_until_ready()
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 650}).status == 200
        assert "starting it again" not in server.stdout.read_text()
