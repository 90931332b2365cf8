"""A model that is split over two nodes: it generates, reports a lost node, and finishes its requests afterwards."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from maritalk_vllm.server.cluster.control_connection import TIMEOUT_SECONDS
from tests.counting import samples
from tests.nodes.network_link import NetworkLink, two_hosts
from tests.nodes.node import Node
from tests.server.test_stop import assert_nothing_left
from tests.serving import READY_SECONDS, Answer, free_port, note

pytestmark = [pytest.mark.nodes, pytest.mark.nightly]

TOKENS = 8
QUESTION = {"prompt": "1 2 3 4", "max_tokens": TOKENS, "do_sample": False, "return_usage": True}
LASTING = {**QUESTION, "max_tokens": 64}
"""A request that takes several seconds."""

HIDDEN_BYTES = 576 * 2
"""The least that a pipeline stage sends to the next for a token: the demo model's hidden state in bfloat16."""

BUSY_SECONDS = 30
NOTICED_SECONDS = TIMEOUT_SECONDS + 10


@pytest.fixture(scope="module")
def link() -> Iterator[NetworkLink]:
    try:
        with two_hosts() as link:
            yield link
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are not permitted here: {error}")


def computed_seconds(node: Node) -> float:
    """User CPU time, in seconds, of a node's workers."""
    workers = [pid for pid, line in node.processes().items() if line.startswith("VLLM::Worker")]
    return sum(psutil.Process(pid).cpu_times().user for pid in workers)


def total(node: Node, name: str) -> float:
    """The sum of a vLLM metric over its labels."""
    found = samples(node.ask("/metrics").body.decode())
    return sum(value for (each, _), value in found.items() if each == name)


def running(node: Node) -> float:
    return total(node, "vllm:num_requests_running")


def generated(node: Node) -> float:
    return total(node, "vllm:generation_tokens_total")


@dataclass
class InFlight:
    """Two long in-flight requests: a plain one and a stream."""

    plain: Future[Answer]
    stream: Future[Answer]

    @classmethod
    def at(cls, leader: Node, pool: ThreadPoolExecutor) -> "InFlight":
        asked = [pool.submit(leader.ask, "/generate", {**LASTING, "stream": stream}) for stream in (False, True)]
        before = generated(leader)
        deadline = time.monotonic() + BUSY_SECONDS
        # Wait until both run and the stream has begun.
        while running(leader) < 2 or generated(leader) < before + 8:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not any(each.done() for each in asked)
        return cls(*asked)

    def assert_finished(self, output: str) -> None:
        """As in an undisturbed run."""
        plain, stream = self.plain.result(timeout=BUSY_SECONDS), self.stream.result(timeout=BUSY_SECONDS)
        assert (plain.status, plain.json["output"]) == (200, output)
        assert plain.json["usage"]["completion_tokens"] == LASTING["max_tokens"]
        events = [each for each in stream.body.decode().split("\n\n") if each and not each.startswith(":")]
        texts = [json.loads(each.removeprefix("data: "))["text"] for each in events if each.startswith("data: ")]
        assert "".join(texts) == output
        assert not any(each.startswith("event: error") for each in events)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_two_nodes_serve_one_model_and_recover_from_a_lost_node(
    tmp_path: Path, prepared_cache: Path, link: NetworkLink, pool: ThreadPoolExecutor
) -> None:
    port = free_port()

    def start(rank: int, name: str) -> Node:
        log = tmp_path / f"{name}.log"
        return Node(tmp_path / name, link, rank, port, "--cache-dir", str(prepared_cache), "--log-file", str(log))

    started = [start(0, "leader"), start(1, "follower")]
    leader, follower = started
    address = link.hosts[1].address
    lost = f"Node 1 ({address}) is gone"
    try:
        first = leader.wait_until(ready=True)
        assert follower.is_ready()
        assert "This node's part of the model is up." in follower.stdout.read_text()
        answer = assert_both_compute(leader, follower)
        undisturbed = leader.ask("/generate", LASTING).json["output"]
        assert_refers_to_the_leader(follower, f"http://{link.hosts[0].address}:{port}")

        in_flight = InFlight.at(leader, pool)
        began = time.monotonic()
        link.set_down()
        noticed = leader.wait_until(ready=False, seconds=NOTICED_SECONDS)
        assert f"{lost}: no message from it for {TIMEOUT_SECONDS:.0f} s." in leader.stdout.read_text()
        waits(leader, f"Waiting for node 1 ({address})")
        new = pool.submit(leader.ask, "/generate", QUESTION)
        follower.wait_until(ready=False, seconds=NOTICED_SECONDS)
        assert follower.ask().json["status"] == "loading"
        assert not new.done()
        link.set_up()
        back = leader.wait_until(ready=True)
        in_flight.assert_finished(undisturbed)
        paused = time.monotonic() - began
        assert new.result().json["output"] == answer

        in_flight = InFlight.at(leader, pool)
        follower.process.kill()
        follower.process.wait()
        killed = leader.wait_until(ready=False, seconds=NOTICED_SECONDS)
        assert f"{lost}: it closed its connection." in leader.stdout.read_text()
        assert_nothing_left(follower)
        follower = start(1, "again")
        started.append(follower)
        again = leader.wait_until(ready=True)
        in_flight.assert_finished(undisturbed)
        assert leader.ask("/generate", QUESTION).json["output"] == answer

        assert leader.stdout.read_text().count(lost) == 2
        assert samples(leader.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()] == 2
        last = pool.submit(leader.ask, "/generate", QUESTION)
        while leader.ask().json != {"status": "busy"}:
            time.sleep(0.01)
        # As an orchestrator ends a group: all nodes at once. The in-flight request still needs both.
        for node in (follower, leader):
            node.process.send_signal(signal.SIGTERM)
        assert last.result().json["output"] == answer
    finally:
        ended = max(node.stop() for node in started)
    assert [node.process.returncode for node in (leader, follower)] == [0, 0]
    for node in started:
        assert_nothing_left(node)
    note(
        f"two nodes: ready {first:.1f} s after their start; cut off, noticed after {noticed:.1f} s, "
        f"back {back:.1f} s after the link came up, requests finished {paused:.1f} s after the cut; "
        f"killed, noticed after {killed:.1f} s; "
        f"back {again:.1f} s after its start; both stopped in {ended:.1f} s"
    )


def waits(leader: Node, phase: str) -> None:
    """Wait until `/readyz` reports this phase."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            answer = leader.ask("/readyz", timeout=5)
            assert answer.status == 503
            if answer.json["phase"] == phase:
                return
        assert time.monotonic() < deadline, leader.stdout.read_text()
        time.sleep(0.05)


def assert_both_compute(leader: Node, follower: Node) -> str:
    """Generate on the leader; assert by the link's traffic and the follower's CPU time that both compute."""
    leader.ask("/generate", QUESTION)
    received, sent, worked = follower.host.received_bytes(), follower.host.sent_bytes(), computed_seconds(follower)
    answer = leader.ask("/generate", QUESTION)
    assert answer.status == 200
    received, sent = follower.host.received_bytes() - received, follower.host.sent_bytes() - sent
    tokens = answer.json["usage"]["completion_tokens"]
    assert received > tokens * HIDDEN_BYTES
    assert computed_seconds(follower) > worked
    note(
        f"two nodes: {received / tokens / 1000:.1f} kB a token to node 1 and {sent / tokens / 1000:.1f} kB back, "
        f"{answer.json['generation_time'] / (tokens - 1):.0f} ms a token"
    )
    output: str = answer.json["output"]
    assert output
    return output


def assert_refers_to_the_leader(follower: Node, leader_url: str) -> None:
    assert follower.ask("/livez").status == 200
    assert follower.ask().json == {"status": "ready", "node": 1, "nodes": 2, "head": leader_url}
    for path, body in (("/generate", QUESTION), ("/v1/models", None), ("/chat", None)):
        answer = follower.ask(path, body)
        assert answer.status == 503
        assert leader_url in answer.body.decode()
