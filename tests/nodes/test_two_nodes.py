"""A model that is split over two nodes: it answers, loses one, says which, and comes back."""

import contextlib
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
from tests.chaos.load import ENDLESS
from tests.counting import samples
from tests.nodes.cable import Cable, two_hosts
from tests.nodes.node import Node
from tests.server.test_stop import assert_nothing_left
from tests.serving import READY_SECONDS, Answer, free_port, note

pytestmark = pytest.mark.nodes

TOKENS = 8
QUESTION = {"prompt": "1 2 3 4", "max_tokens": TOKENS, "do_sample": False, "return_usage": True}
HIDDEN_BYTES = 576 * 2
"""What one stage sends to the next for a token, at the least: the demo model's hidden state in bfloat16."""

BUSY_SECONDS = 30
NOTICED_SECONDS = TIMEOUT_SECONDS + 10


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    try:
        with two_hosts() as cable:
            yield cable
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are not permitted here: {error}")


def computed_seconds(node: Node) -> float:
    """What the processes of a node that hold layers have computed."""
    workers = [pid for pid, line in node.processes().items() if line.startswith("VLLM::Worker")]
    return sum(psutil.Process(pid).cpu_times().user for pid in workers)


def total(node: Node, name: str) -> float:
    """Of vLLM's own metric of this name, the sum over its labels."""
    found = samples(node.ask("/metrics").body.decode())
    return sum(value for (each, _), value in found.items() if each == name)


def running(node: Node) -> float:
    return total(node, "vllm:num_requests_running")


def generated(node: Node) -> float:
    return total(node, "vllm:generation_tokens_total")


@dataclass
class UnderWay:
    """Two requests that last for as long as they are let: a plain one and a stream."""

    plain: Future[Answer]
    stream: Future[Answer]

    @classmethod
    def at(cls, head: Node, pool: ThreadPoolExecutor) -> "UnderWay":
        asked = [pool.submit(head.ask, "/generate", {**ENDLESS, "stream": stream}) for stream in (False, True)]
        before = generated(head)
        deadline = time.monotonic() + BUSY_SECONDS
        # Both run, and the stream has begun.
        while running(head) < 2 or generated(head) < before + 8:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert not any(each.done() for each in asked)
        return cls(*asked)

    def assert_told(self, words: str) -> None:
        plain, stream = self.plain.result(timeout=NOTICED_SECONDS), self.stream.result(timeout=NOTICED_SECONDS)
        assert plain.status == 503
        assert words in plain.json["error"]
        last = stream.body.decode().removesuffix("\n\n").split("\n\n")[-1]
        assert last.startswith("event: error\n")
        assert words in last


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_one_answers_for_both_and_a_node_that_is_lost_comes_back(
    tmp_path: Path, prepared_cache: Path, cable: Cable, pool: ThreadPoolExecutor
) -> None:
    port = free_port()

    def start(rank: int, name: str) -> Node:
        log = tmp_path / f"{name}.log"
        return Node(tmp_path / name, cable, rank, port, "--cache-dir", str(prepared_cache), "--log-file", str(log))

    started = [start(0, "head"), start(1, "other")]
    head, other = started
    address = cable.hosts[1].address
    lost = f"Node 1 ({address}) is gone"
    try:
        first = head.wait_until(ready=True)
        assert other.is_ready()
        assert "This node's part of the model is up." in other.stdout.read_text()
        answer = assert_both_compute(head, other)
        assert_a_signpost(other, f"http://{cable.hosts[0].address}:{port}")

        under_way = UnderWay.at(head, pool)
        began = time.monotonic()
        cable.pull()
        noticed = head.wait_until(ready=False, seconds=NOTICED_SECONDS)
        under_way.assert_told(f"{lost}: nothing was heard of it for {TIMEOUT_SECONDS:.0f} s.")
        told = time.monotonic() - began
        waits(head, f"Waiting for node 1 ({address})")
        refused = head.ask("/generate", QUESTION)
        assert (refused.status, lost in refused.json["error"]) == (503, True)
        other.wait_until(ready=False, seconds=NOTICED_SECONDS)
        assert other.ask().json["status"] == "loading"
        cable.plug()
        back = head.wait_until(ready=True)
        assert head.ask("/generate", QUESTION).json["output"] == answer

        under_way = UnderWay.at(head, pool)
        other.process.kill()
        other.process.wait()
        killed = head.wait_until(ready=False, seconds=NOTICED_SECONDS)
        under_way.assert_told(f"{lost}: it closed its connection.")
        assert_nothing_left(other)
        other = start(1, "again")
        started.append(other)
        again = head.wait_until(ready=True)
        assert head.ask("/generate", QUESTION).json["output"] == answer

        assert head.stdout.read_text().count(lost) == 2
        assert samples(head.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()] == 2
        last = pool.submit(head.ask, "/generate", QUESTION)
        while head.ask().json != {"status": "busy"}:
            time.sleep(0.01)
        # As a cluster ends a group: all at once. The answer that is under way still needs both.
        for node in (other, head):
            node.process.send_signal(signal.SIGTERM)
        assert last.result().json["output"] == answer
    finally:
        ended = max(node.stop() for node in started)
    assert [node.process.returncode for node in (head, other)] == [0, 0]
    for node in started:
        assert_nothing_left(node)
    note(
        f"two nodes: ready {first:.1f} s after their start; cut off, noticed after {noticed:.1f} s and all told after "
        f"{told:.1f} s; back {back:.1f} s after the cable; killed, noticed after {killed:.1f} s; "
        f"back {again:.1f} s after its start; both stopped in {ended:.1f} s"
    )


def waits(head: Node, phase: str) -> None:
    """Until `/readyz` says that it waits for this."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            told = head.ask("/readyz", timeout=5)
            assert told.status == 503
            if told.json["phase"] == phase:
                return
        assert time.monotonic() < deadline, head.stdout.read_text()
        time.sleep(0.05)


def assert_both_compute(head: Node, other: Node) -> str:
    """Ask node 0, and see on the cable and at the other node's worker that it has only half of the layers."""
    head.ask("/generate", QUESTION)
    received, sent, worked = other.host.received_bytes(), other.host.sent_bytes(), computed_seconds(other)
    answer = head.ask("/generate", QUESTION)
    assert answer.status == 200
    received, sent = other.host.received_bytes() - received, other.host.sent_bytes() - sent
    tokens = answer.json["usage"]["completion_tokens"]
    assert received > tokens * HIDDEN_BYTES
    assert computed_seconds(other) > worked
    note(
        f"two nodes: {received / tokens / 1000:.1f} kB a token to node 1 and {sent / tokens / 1000:.1f} kB back, "
        f"{answer.json['generation_time'] / (tokens - 1):.0f} ms a token"
    )
    output: str = answer.json["output"]
    assert output
    return output


def assert_a_signpost(other: Node, head_url: str) -> None:
    assert other.ask("/livez").status == 200
    assert other.ask().json == {"status": "ready", "node": 1, "nodes": 2, "head": head_url}
    for path, body in (("/generate", QUESTION), ("/v1/models", None), ("/chat", None)):
        answer = other.ask(path, body)
        assert answer.status == 503
        assert head_url in answer.body.decode()
