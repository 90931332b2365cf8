"""Two API processes with one engine, which is killed under mixed requests; then one of them is killed as well."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.test_resume import REQUESTS, has_restarted, is_same, merged
from tests.counting import samples
from tests.serving import READY_SECONDS, Server, until

pytestmark = [pytest.mark.chaos, pytest.mark.nightly]

KILLS = 2


def apis(server: Server) -> set[int]:
    """The API processes."""
    return {pid for pid, line in server.processes().items() if line.startswith("maritalk: serve")}


def requests(server: Server) -> float:
    """How many requests for answers have ended, as the metrics have it."""
    found = samples(server.ask("/metrics").body.decode())
    return sum(
        value
        for (name, labels), value in found.items()
        if name == "maritalk_requests_total" and ("method", "POST") in labels
    )


def is_busy(server: Server) -> bool:
    """Whether the engine runs requests of any API process."""
    return server.ask("/").body == b'{"status":"busy"}'


def test_requests_of_two_api_processes_survive_kills_of_the_engine(tmp_path: Path, prepared_cache: Path) -> None:
    options = ("--cache-dir", str(prepared_cache), "--api-processes", "2", "--max-restarts", "9", "--log-file", "log")
    server = Server(tmp_path, *options)
    try:
        server.wait_until_ready()
        processes = apis(server)
        assert len(processes) == 2
        with ThreadPoolExecutor(2 * len(REQUESTS)) as pool:
            undisturbed = [merged(each.body) for each in pool.map(server.ask, *zip(*REQUESTS, strict=True))]
            for kill in range(KILLS):
                running = [pool.submit(server.ask, *each, 600) for each in REQUESTS * 2]
                (engine,) = (pid for pid, line in server.processes().items() if line.startswith("VLLM::EngineCore"))
                until(partial(is_busy, server), "requests in flight")
                os.kill(engine, signal.SIGKILL)
                for expected, each in zip(undisturbed * 2, running, strict=True):
                    assert each.result().status == 200
                    assert is_same(merged(each.result().body), expected)
                until(partial(has_restarted, server, kill + 1), "ready again", READY_SECONDS)
        assert apis(server) == processes
        assert requests(server) == len(REQUESTS) * (1 + 2 * KILLS)
        victim = min(processes)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(apis(server)) == 2 and victim not in apis(server), "another API process", READY_SECONDS)
        with ThreadPoolExecutor(2 * len(REQUESTS)) as pool:
            answers = list(pool.map(server.ask, *zip(*REQUESTS * 2, strict=True)))
        for expected, answer in zip(undisturbed * 2, answers, strict=True):
            assert is_same(merged(answer.body), expected)
        assert has_restarted(server, KILLS)
        assert server.stop() < 60
        assert server.process.returncode == 0
    finally:
        server.stop()
