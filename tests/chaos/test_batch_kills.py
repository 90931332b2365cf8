"""`kill -9` of a server's processes in the middle of a batch: each line has one result, that of an undisturbed run."""

import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.models import find_or_make
from maritalk_vllm.tools.batch import batch_file
from maritalk_vllm.tools.batch.batch_client import BatchClient
from maritalk_vllm.tools.batch.batch_object import Batch
from maritalk_vllm.tools.server_address import ServerAddress
from tests.batches.samples import jsonl, line
from tests.chaos.test_kill import processes, wait_until_ready
from tests.counting import samples
from tests.server.test_stop import assert_nothing_left
from tests.serving import Server, note, until

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("CHAOS_KILLS", "20"))
LINES = 2000
PLACES = 16
"""Requests that the engine computes at once: few, so that the batch progresses evenly."""

VICTIMS = {"API process": "maritalk: serve", "engine": "VLLM::EngineCore", "supervisor": None}
BATCH_SECONDS = 900


class BatchServer:
    """A server with a batch. It is started again, with its data folder, after its supervisor was killed."""

    def __init__(self, folder: Path, model: Path, cache: Path) -> None:
        self._folder = folder
        self._arguments = (
            *("--model", str(model), "--cache-dir", str(cache), "--data-dir", str(folder / "data")),
            *("--max-restarts", "1000", "--max-model-len", "512", "--", "--max-num-seqs", str(PLACES)),
        )
        self._starts = 0
        self.server = self._start(0)

    def _start(self, port: int) -> Server:
        self._starts += 1
        folder = self._folder / f"start-{self._starts}"
        folder.mkdir(parents=True)
        server = Server(folder, *self._arguments, port=port)
        server.wait_until_ready()
        return server

    def client(self) -> BatchClient:
        return BatchClient(ServerAddress(url=f"http://127.0.0.1:{self.server.port}"))

    def results(self) -> dict[str, bytes]:
        """The whole lines of the files of results so far, by the ids of the files."""
        contents = {each.name: each.read_bytes() for each in (self._folder / "data" / "files").iterdir()}
        return {
            name: content[: content.rfind(b"\n") + 1]
            for name, content in contents.items()
            if content.startswith(b'{"id":"batch_req_')
        }

    def lines_in_flight(self) -> int:
        return int(samples(self.server.ask("/metrics").body.decode())["maritalk_batch_lines_in_flight", ()])

    def kill(self, victim: str) -> None:
        """Kill a process, and wait until the server is ready again."""
        title = VICTIMS[victim]
        if title is not None:
            (pid,) = processes(self.server, title)
            os.kill(pid, signal.SIGKILL)
            until(lambda: pid not in self.server.processes(), f"the end of the {victim}")
        else:
            self.server.process.kill()
            self.server.process.wait()
            until(lambda: not self.server.processes(), "the end of all processes")
            self.server = self._start(self.server.port)
        wait_until_ready(self.server)


def compute(server: BatchServer, requests: Path, disturb: Callable[[], None]) -> tuple[Batch, dict[str, str], bytes]:
    """Submit a batch; returns it at its end, the text of each line, and its output file."""
    with server.client() as client:
        file = batch_file.check(requests)
        batch_id = client.create(client.upload(file, lambda *_: None), file.endpoint).id
    disturb()
    with server.client() as client:
        until(lambda: client.retrieve(batch_id).is_final, "the end of the batch", BATCH_SECONDS)
        batch = client.retrieve(batch_id)
    output = server.results()[batch.output_file_id or ""]
    results = [json.loads(each) for each in output.splitlines()]
    assert len(results) == len({each["custom_id"] for each in results})
    return batch, {each["custom_id"]: each["response"]["body"]["output"] for each in results}, output


@pytest.mark.nightly  # by day: tests/server/test_stub_engine_batches.py
def test_a_batch_survives_kills(tmp_path: Path, prepared_cache: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    lines = (
        line(f"line-{number}", prompt=f"{number}: 1 2 3", max_tokens=4, do_sample=False) for number in range(LINES)
    )
    requests.write_bytes(jsonl(lines))
    server = BatchServer(tmp_path, find_or_make("one-layer", prepared_cache), prepared_cache)
    chance = random.Random(0)
    killed: Counter[str] = Counter()
    snapshots: list[dict[str, bytes]] = []
    again = 0

    def disturb() -> None:
        nonlocal again
        earlier = set(server.results())

        def lines_done() -> int:
            return sum(text.count(b"\n") for name, text in server.results().items() if name not in earlier)

        def wait_for(number: int) -> None:
            until(lambda: lines_done() >= number, f"{number} lines", BATCH_SECONDS)

        victims = [list(VICTIMS)[number % len(VICTIMS)] for number in range(KILLS)]
        chance.shuffle(victims)
        for victim in victims:
            # A line that is in flight at two deaths of an engine is rejected: those of the last kill are done by then.
            wait_for(lines_done() + chance.randint(3 * PLACES, LINES // (KILLS + 2)))
            if victim != "engine":  # after which requests continue with the tokens that they have
                again += server.lines_in_flight()
            server.kill(victim)
            killed[victim] += 1
            snapshots.append(server.results())

    try:
        _, expected, _ = compute(server, requests, lambda: None)
        batch, texts, output = compute(server, requests, disturb)
    finally:
        server.server.stop()
    note(f"{dict(killed)} killed in a batch of {LINES} lines: at most {again} lines computed again")
    assert (batch.status, batch.completed, batch.failed) == ("completed", LINES, 0)
    assert len(expected) == LINES
    assert texts == expected
    assert again <= PLACES * KILLS
    # What had a result at a kill was not computed again: the file only grew.
    assert all(output.startswith(each[batch.output_file_id]) for each in snapshots if batch.output_file_id in each)
    assert snapshots and any(batch.output_file_id in each for each in snapshots)
    assert_nothing_left(server.server)
