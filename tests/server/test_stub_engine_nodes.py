"""A leader and a follower with stub engines, on one machine: requests wait for a lost node, and are finished then."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.counting import samples
from tests.server.test_stop import assert_nothing_left
from tests.server.test_stub_engine_resume import LASTING, NOT_BACK, PROMPT, has_requests
from tests.serving import Answer, free_port, until
from tests.stub_engine.server import StubServer

LOST = "Node 1 (127.0.0.1) is gone: it closed its connection."
RESTARTED = "The engine restarts when all nodes are connected."


class Group:
    """A leader, and a follower that a test may end and start again."""

    def __init__(self, folder: Path, *options: str) -> None:
        head = free_port() - 1  # the control connection has the next one
        self._folder, self._head = folder, f"127.0.0.1:{head}"
        self.nodes: list[StubServer] = []
        self.leader = self._start(0, *options)
        self.follower = self._start(1)
        self.leader.wait_until_ready()

    def _start(self, rank: int, *options: str) -> StubServer:
        folder = self._folder / f"node-{len(self.nodes)}"
        folder.mkdir()
        group = ("--nodes", "2", "--node-rank", str(rank), "--head", self._head)
        self.nodes.append(StubServer(folder, *group, *options))
        return self.nodes[-1]

    def lose_follower(self) -> None:
        """Kill the follower, and wait until the leader reports it."""
        self.follower.process.kill()
        self.leader.wait_for(LOST)
        until(lambda: self.leader.ask("/readyz").status == 503, "not ready")

    def restart_follower(self) -> None:
        self.follower = self._start(1)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[list[Group]]:
    started: list[Group] = []
    yield started
    for group in started:
        for each in group.nodes:
            each.__exit__()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_requests_are_finished_when_a_lost_node_of_stub_engines_is_back(
    tmp_path: Path, groups: list[Group], pool: ThreadPoolExecutor
) -> None:
    groups.append(group := Group(tmp_path))
    leader = group.leader
    api = leader.api
    running = pool.submit(leader.ask, "/generate", LASTING)
    streaming = pool.submit(leader.ask, "/generate", {**LASTING, "stream": True})
    until(lambda: has_requests(leader, 2), "requests in flight")
    group.lose_follower()
    assert leader.ask("/livez").status == 200
    until(lambda: leader.ask("/readyz").json["phase"] == "Waiting for node 1 (127.0.0.1)", "what is missing")
    waiting = pool.submit(leader.ask, "/generate", PROMPT)
    group.restart_follower()
    assert running.result().json["output"].split() == ["token"] * 150
    assert streaming.result().body.count(b"data: ") >= 150
    assert b"event: error" not in streaming.result().body
    assert waiting.result().status == 200
    assert leader.api == api
    found = samples(leader.ask("/metrics").body.decode())
    assert found["maritalk_engine_restarts_total", ()] == 1
    for each in (leader, group.follower):  # a follower waits until the leader needs it no more
        assert each.stop() < 30
        assert_nothing_left(each)


def test_requests_wait_for_a_lost_node_of_stub_engines_no_longer_than_the_limit(
    tmp_path: Path, groups: list[Group], pool: ThreadPoolExecutor
) -> None:
    groups.append(group := Group(tmp_path, "--resume-timeout", "1"))
    leader = group.leader
    running = pool.submit(leader.ask, "/generate", LASTING)
    until(lambda: has_requests(leader), "a request in flight")
    group.lose_follower()
    answer: Answer = running.result()
    assert (answer.status, answer.json["error"]) == (503, NOT_BACK)
    late = leader.ask("/generate", PROMPT)
    assert (late.status, late.json["error"]) == (503, NOT_BACK)
    assert late.seconds < 1
    group.restart_follower()
    leader.wait_until_ready_again()
    assert leader.ask("/generate", PROMPT).status == 200
    assert samples(leader.ask("/metrics").body.decode())["maritalk_refused_total", (("reason", "loading"),)] == 2


def test_an_api_process_that_dies_while_a_node_of_stub_engines_is_lost_is_replaced(
    tmp_path: Path, groups: list[Group]
) -> None:
    """Until all nodes are back, the supervisor answers."""
    groups.append(group := Group(tmp_path))
    leader = group.leader
    api = leader.api
    group.lose_follower()
    os.kill(api, signal.SIGKILL)
    leader.wait_for_text("starting it again", 1)
    answer = leader.ask("/generate", PROMPT, timeout=5)
    assert (answer.status, answer.json["error"]) == (503, f"Waiting for node 1 (127.0.0.1). {RESTARTED}")
    group.restart_follower()
    leader.wait_until_ready_again()
    assert leader.api != api
    assert leader.ask("/generate", PROMPT).status == 200
