"""A stub engine that dies or hangs: what its clients receive, when it is restarted, and when it is given up."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counting import samples
from tests.server.test_stop import assert_nothing_left
from tests.serving import Answer, until
from tests.stub_engine.server import StubServer

PROMPT = {"prompt": "1 2 3", "max_tokens": 2}
LONG = {"prompt": "1 2 3", "max_tokens": 100_000}
ANSWER_SECONDS = 1.0
"""For a supervisor that nothing blocks, on a busy machine. What it waits for here takes seconds."""
DIED = "The engine has died, and is started again. Try again in a moment."


def is_busy(server: StubServer) -> bool:
    return bool(server.ask("/").json == {"status": "busy"})


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def metrics(server: StubServer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(server.ask("/metrics").body.decode())


@pytest.mark.core
def test_a_stub_engine_that_dies_is_restarted(tmp_path: Path) -> None:
    """With --no-resume-requests: in-flight requests fail at once, new ones wait, and nothing is imported again."""
    with StubServer(tmp_path, "--no-resume-requests", loading=["go", "wait 1"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        first = {server.fork_server, server.api, server.engine}
        running = pool.submit(server.ask, "/generate", LONG)
        until(lambda: is_busy(server), "a request in flight")
        killed = time.monotonic()
        kill(server.engine)
        answer = running.result(timeout=5)
        assert (answer.status, answer.json["error"]) == (503, DIED)
        server.wait_until_reached("loading", times=2)
        assert server.reached("loading")[1].seconds - killed < 5
        # SIGHUP ends neither the load nor the requests that wait for it.
        server.process.send_signal(signal.SIGHUP)
        os.kill(server.fork_server, signal.SIGHUP)
        assert server.ask("/", timeout=1).json == {"status": "loading"}
        waiting = pool.submit(server.ask, "/generate", PROMPT)
        server.wait_until_ready_again()
        assert waiting.result().status == 200
        assert "The engine died: starting it again now." in server.stdout.read_text()
        assert len(server.reached("importing")) == 1
        assert server.fork_server in first
        assert not {server.api, server.engine} & first
        found = metrics(server)
        assert found["maritalk_engine_restarts_total", ()] == 1
        steps = {dict(labels)["phase"] for name, labels in found if name == "maritalk_start_seconds"}
        assert steps == {"loading", "warming_up", "ready"}
        server.stop()
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_the_supervisor_answers_while_it_waits_for_the_rest_of_a_stub_engine(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["leave-tracker", "go"]) as server:
        server.wait_until_ready()
        kill(server.engine)
        longest = 0.0
        while len(server.reached("loading")) < 2:
            began = time.monotonic()
            assert server.ask("/livez").status == 200
            longest = max(longest, time.monotonic() - began)
        assert longest < ANSWER_SECONDS
        server.wait_until_ready_again()
        server.stop()
        assert_nothing_left(server)


def test_an_api_process_that_dies_or_hangs_is_replaced_with_its_stub_engine(tmp_path: Path) -> None:
    """An event loop that is blocked for less than --api-timeout does not count as hanging."""
    with StubServer(tmp_path, "--api-timeout", "3") as server:
        server.wait_until_ready()
        before = server.processes().keys() - {server.process.pid}
        kill(server.api)
        server.wait_until_ready_again()
        assert server.ask("/generate", PROMPT).status == 200
        assert "The process that was to serve the model was killed by SIGKILL: starting it again now." in output(server)
        assert before & server.processes().keys() == {server.fork_server}

        hung = server.api
        os.kill(hung, signal.SIGSTOP)
        time.sleep(1)
        os.kill(hung, signal.SIGCONT)
        assert server.ask("/generate", PROMPT).status == 200
        # The whole server is suspended, as on a suspended machine: that time does not count.
        os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(hung, signal.SIGSTOP)
        time.sleep(4)
        os.kill(server.process.pid, signal.SIGCONT)
        os.kill(hung, signal.SIGCONT)
        assert server.ask("/generate", PROMPT).status == 200
        assert server.api == hung

        os.kill(hung, signal.SIGSTOP)
        with ThreadPoolExecutor() as pool:
            server.wait_until_ready_again(2)
            # The request is in the listening socket's queue, which outlives the process.
            assert pool.submit(server.ask, "/generate", PROMPT).result().status == 200
        assert hung not in server.processes()
        assert "The API process hangs: it gave no sign of life for 3 s: starting it again in 1 s." in output(server)
        assert len(server.reached("importing")) == 1


def test_a_stub_engine_serves_without_its_fork_server(tmp_path: Path) -> None:
    """No request is lost, the death is reported, the process is reaped, and the next start has a new fork server."""
    with StubServer(tmp_path, "--api-timeout", "3") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        running = pool.submit(server.ask, "/generate", {"prompt": "1 2 3", "max_tokens": 200})
        until(lambda: is_busy(server), "a request in flight")
        api, fork_server = server.api, server.fork_server
        kill(fork_server)
        server.wait_for("The fork server was killed by SIGKILL. The engine keeps serving;")
        killed = "The fork server was killed by SIGKILL."
        until(lambda: killed in server.engine_log.read_text(), "the engine's log reports it too")
        assert not Path(f"/proc/{fork_server}").exists()
        assert running.result().status == 200
        assert server.ask("/generate", PROMPT).status == 200
        assert server.api == api
        kill(server.engine)
        server.wait_until_ready_again()
        assert len(server.reached("importing")) == 2

        # A hanging fork server is replaced when it is needed.
        os.kill(server.fork_server, signal.SIGSTOP)
        kill(server.engine)
        server.wait_until_ready_again(2)
        assert "The fork server hangs: it started no process within 3 s" in output(server)
        assert len(server.reached("importing")) == 3
        server.stop()
        assert server.process.returncode == 0
        assert_nothing_left(server)


def output(server: StubServer) -> str:
    return server.stdout.read_text()


def test_a_leaked_process_of_a_dead_stub_engine_ends_before_the_restart(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["leak", "go"]) as server:
        server.wait_until_ready()
        leaked = server.pid_of("sleep 600")
        kill(server.engine)
        server.wait_until_reached("loading", times=2)
        assert leaked not in server.processes()


@pytest.mark.core
def test_a_stub_engine_that_dies_too_often_is_given_up(tmp_path: Path) -> None:
    with StubServer(tmp_path, "--max-restarts", "2") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        for times in (1, 2):
            kill(server.engine)
            server.wait_until_ready_again(times)
        running = pool.submit(server.ask, "/generate", LONG)
        until(lambda: is_busy(server), "a request in flight")
        kill(server.engine)
        assert server.process.wait(timeout=20) == 7
        assert running.result().status == 503
        error = server.stderr.read_text()
        expected = (
            "maritalk-serve: The engine died. It was started again 2 times within 10 minutes before. vLLM's log says"
        )
        assert error.startswith(expected)
        assert error.count("\n") == 1
        assert len(server.reached("loading")) == 3
        assert_nothing_left(server)


def test_a_stub_engine_is_not_restarted_with_max_restarts_0(tmp_path: Path) -> None:
    with StubServer(tmp_path, "--max-restarts", "0") as server:
        server.wait_until_ready()
        kill(server.engine)
        assert server.process.wait(timeout=20) == 7
        assert server.stderr.read_text().startswith("maritalk-serve: The engine died. vLLM's log says why: /")
        assert len(server.reached("loading")) == 1
        assert_nothing_left(server)


def test_the_restart_delay_of_a_stub_engine_grows(tmp_path: Path) -> None:
    """No delay before the first restart, a second before the next, also after a failed restart."""
    with StubServer(tmp_path, loading=["go", "die", "go"]) as server:
        server.wait_until_ready()
        kill(server.engine)
        server.wait_until_ready_again()
        loads = [each.seconds for each in server.reached("loading")]
        assert len(loads) == 3
        assert 1 <= loads[2] - loads[1] < 5
        restarts = re.findall(r"\] (.*): starting it again (.*)\n", server.stdout.read_text())
        assert restarts == [
            ("The engine died", "now."),
            ("The process that was to run the model was killed by SIGKILL", "in 1 s."),
        ]
        assert metrics(server)["maritalk_engine_restarts_total", ()] == 2


def test_a_failed_restart_of_a_stub_engine_counts_as_a_restart(tmp_path: Path) -> None:
    """The error has the cause of the last attempt."""
    with StubServer(tmp_path, "--max-restarts", "1", loading=["go", "fail No room."]) as server:
        server.wait_until_ready()
        kill(server.engine)
        server.wait_until_reached("loading", times=2)
        assert server.process.wait(timeout=20) == 7
        expected = (
            "maritalk-serve: vLLM failed to start: No room. It was started again 1 time within 10 minutes before."
        )
        assert server.stderr.read_text().startswith(expected)


def test_a_stub_engine_is_stopped_during_a_restart(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["go", "hang"]) as server:
        server.wait_until_ready()
        kill(server.engine)
        server.wait_until_reached("loading", times=2)
        assert server.stop() < 30
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_a_stub_engine_is_stopped_in_the_delay_before_a_restart(tmp_path: Path) -> None:
    with StubServer(tmp_path, loading=["go", "die"]) as server:
        server.wait_until_ready()
        kill(server.engine)
        server.wait_for("starting it again in 5 s.")
        assert server.stop() < 4
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_a_stub_engine_that_hangs_counts_as_dead(tmp_path: Path) -> None:
    """With a request in flight. An idle engine does not count as hanging."""
    with StubServer(tmp_path, "--no-resume-requests", "--engine-timeout", "1") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            assert server.ask("/").json == {"status": "idle"}
        running = pool.submit(server.ask, "/generate", LONG)
        until(lambda: is_busy(server), "a request in flight")
        hung = server.engine
        os.kill(hung, signal.SIGSTOP)
        answer: Answer = running.result(timeout=30)
        assert (answer.status, answer.json["error"]) == (503, DIED)
        server.wait_until_ready_again()
        assert hung not in server.processes()
        restarts = re.findall(r"\] (The engine.*)\n", server.stdout.read_text())
        assert len(restarts) == 1
        assert re.fullmatch(r"The engine hangs: it made no step for \d s: starting it again now\.", restarts[0])
