"""Two API processes with one engine: the engine, or one of them, is killed while requests run on both."""

import http.client
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.load import ENDLESS
from tests.chaos.test_kill import processes
from tests.chaos.test_resume import EXACT, REQUESTS, has_restarted, is_same, merged
from tests.counting import samples
from tests.server.test_stub_engine_api_processes import Client, client_of, has_been_replaced
from tests.serving import READY_SECONDS, Server, until

pytestmark = [pytest.mark.chaos, pytest.mark.nightly]

KILLS = 2


def requests(metrics: bytes) -> float:
    """How many requests for answers have ended."""
    return sum(
        value
        for (name, labels), value in samples(metrics.decode()).items()
        if name == "maritalk_requests_total" and ("method", "POST") in labels
    )


def is_busy(server: Server) -> bool:
    """Whether the engine runs requests of any API process."""
    return server.ask("/").body == b'{"status":"busy"}'


@contextmanager
def two_processes(folder: Path, cache: Path) -> Iterator[Server]:
    """A server of the demo model with two API processes, which is ready, and in the end stopped."""
    options = (
        "--cache-dir",
        str(cache),
        "--api-processes",
        "2",
        "--max-restarts",
        "9",
        "--log-file",
        "log",
        "--",
        *EXACT,
    )
    server = Server(folder, *options)
    try:
        server.wait_until_ready()
        assert len(server.apis) == 2
        yield server
        assert server.stop() < 60
        assert server.process.returncode == 0
    finally:
        Client.close_all()
        server.stop()


def undisturbed_answers(server: Server) -> list[Any]:
    """What the answers to all REQUESTS have in common, whichever process sends them."""
    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        return [merged(each.body) for each in pool.map(server.ask, *zip(*REQUESTS, strict=True))]


def engine_of(server: Server) -> int:
    (engine,) = processes(server, "VLLM::EngineCore")
    return engine


def test_requests_of_two_api_processes_survive_kills_of_the_engine(tmp_path: Path, prepared_cache: Path) -> None:
    with two_processes(tmp_path, prepared_cache) as server:
        before = server.apis
        undisturbed = undisturbed_answers(server)
        for kill in range(KILLS):
            with ThreadPoolExecutor(2 * len(REQUESTS)) as pool:
                running = [pool.submit(server.ask, *each, 600) for each in REQUESTS * 2]
                engine = engine_of(server)
                until(partial(is_busy, server), "requests in flight")
                os.kill(engine, signal.SIGKILL)
                for expected, each in zip(undisturbed * 2, running, strict=True):
                    assert each.result().status == 200
                    assert is_same(merged(each.result().body), expected)
            until(partial(has_restarted, server, kill + 1), "ready again", READY_SECONDS)
        assert server.apis == before
        assert requests(server.ask("/metrics").body) == len(REQUESTS) * (1 + 2 * KILLS)


def test_an_api_process_that_is_killed_loses_only_its_own_requests(tmp_path: Path, prepared_cache: Path) -> None:
    """Each of the first two processes is killed, while requests run on both. The engine goes on."""
    with two_processes(tmp_path, prepared_cache) as server:
        engine = engine_of(server)
        undisturbed = undisturbed_answers(server)
        for kill, victim in enumerate(server.apis):
            (other,) = set(server.apis) - {victim}
            lost = [client_of(server, victim, 600).begin({**ENDLESS, "stream": True}) for _ in range(2)]
            going_on = client_of(server, other, 600).begin({**ENDLESS, "max_tokens": 100, "stream": True})
            kept = [client_of(server, other, 600) for _ in REQUESTS]
            for client, request in zip(kept, REQUESTS, strict=True):
                client.send(*request)
            os.kill(victim, signal.SIGKILL)
            for stream in lost:
                with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                    stream.read()
            assert b"event: end" in going_on.read()
            for client, expected in zip(kept, undisturbed, strict=True):
                status, body = client.receive()
                assert status == 200
                assert is_same(merged(body), expected)
            until(partial(has_been_replaced, server, victim), "another API process", READY_SECONDS)
            until(lambda: not is_busy(server), "the end of the lost requests in the engine")
            (replacement,) = set(server.apis) - {other}
            for process in (replacement, other):
                metrics = client_of(server, process, 600).ask("/metrics")[1]
                # The lost requests are in no count; those that the killed process had counted still are.
                assert requests(metrics) == len(REQUESTS) * (kill + 2) + (kill + 1)
            assert server.stdout.read_text().count("One of the API processes ended, and is replaced") == kill + 1
        assert engine_of(server) == engine
        assert has_restarted(server, 0)
        with ThreadPoolExecutor(2 * len(REQUESTS)) as pool:
            answers = list(pool.map(server.ask, *zip(*REQUESTS * 2, strict=True)))
        for expected, answer in zip(undisturbed * 2, answers, strict=True):
            assert is_same(merged(answer.body), expected)
