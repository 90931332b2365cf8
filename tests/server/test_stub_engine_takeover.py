"""A stub engine that is replaced by one that starts beside it: the old one serves until the new one takes over."""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from tests.counting import samples
from tests.lanes import nightly
from tests.server.test_stop import assert_nothing_left
from tests.server.test_stub_engine_connections import REQUEST, Clients, status
from tests.server.test_stub_engine_drain import LONG, in_flight, lasting
from tests.server.test_stub_engine_reload import CLIENTS, PROMPT, REPLACING, Load, Reloaded
from tests.server.wire import wire
from tests.serving import note, until
from tests.stub_engine.engine import TITLE

STARTING = "The configuration has changed: the next engine starts, and this one serves until it is ready."


class Roomy(Reloaded):
    """A server on a machine with room for a second engine."""

    old_engine = old_api = 0
    """Pids of the first engine, and of its API process."""

    def __init__(self, folder: Path, *arguments: str, **actions: list[str]) -> None:
        self.temporary = Path(tempfile.mkdtemp())  # a short path, as sockets need
        with patch.dict("os.environ", TMPDIR=str(self.temporary)):
            super().__init__(folder, *arguments, room=["go"], **actions)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self.temporary)

    @property
    def restarts(self) -> float:
        return samples(self.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()]

    def pids_of(self, title: str) -> set[int]:
        """The processes with this title."""
        return {pid for pid, line in self.processes().items() if line.startswith(title)}

    def wait_until_one_is_left(self) -> None:
        """Wait until nothing is left of any engine but one."""
        titles = (TITLE, "maritalk: run", "maritalk: nursery")
        until(lambda: [len(self.pids_of(title)) for title in titles] == [1, 1, 1], "one process of each kind")
        until(lambda: len(list(self.temporary.glob("maritalk-*"))) == 1, "one temporary folder")


@contextmanager
def replacing(folder: Path, *arguments: str, **actions: list[str]) -> Iterator[Roomy]:
    """A server whose second engine starts, and loads by the second of the `actions`."""
    with Roomy(folder, *arguments, **actions) as server:
        server.wait_until_ready()
        server.old_engine, server.old_api = server.engine, server.api
        server.reload(max_model_len=2048)
        server.wait_until_reached("loading", times=2)
        yield server


@pytest.mark.parametrize("processes", [nightly("1"), "2"])
def test_an_engine_takes_over_under_load_without_a_pause(tmp_path: Path, processes: str) -> None:
    """Clients with and without connections that they keep, and one that uses its own before and after."""

    async def connect(server: Roomy) -> None:
        async with wire(f"http://127.0.0.1:{server.port}") as idle:
            await idle.send(REQUEST)
            assert await status(idle) == "200"
            server.reload(max_model_len=2048)
            outcomes = await Clients(server.port, 1).run(
                lambda: server.stdout.read_text().count("Listening on http://") == 2, at_least=60
            )
            assert set(outcomes) == {"200"}
            await idle.send(REQUEST)
            assert await status(idle) == "200"

    with Roomy(tmp_path, "--api-processes", processes, loading=["go", "wait 2"]) as server:
        server.wait_until_ready()
        load = Load(server.port)
        with load.running():
            until(lambda: len(load.answered) > 2 * CLIENTS, "requests are answered")
            asyncio.run(connect(server))
            server.wait_until_one_is_left()
            before = len(load.answered)
            until(lambda: len(load.answered) > before + 2 * CLIENTS, "requests are answered by the next engine")
        assert load.failures == []
        note(f"Takeover with {processes} API processes: {load.longest_pause:.2f} s without an answer.")
        assert load.longest_pause < 2  # the start took more
        assert server.length == "2048"
        assert STARTING in server.stdout.read_text()
        assert REPLACING not in server.stdout.read_text()
        assert (server.restarts, server.problems) == (0, [])
        assert len(server.apis) == int(processes)
        assert server.stop() < 30
        assert_nothing_left(server)


def test_no_client_reaches_a_successor_before_all_of_it_is_ready(tmp_path: Path) -> None:
    """The second of its two API processes fails when the first is ready: no answer is lost."""
    warming_up = ["go", "go", "go", "wait 1.5; fail No answer.", "fail No answer."]
    with Roomy(tmp_path, "--api-processes", "2", warming_up=warming_up) as server:
        server.wait_until_ready()
        load = Load(server.port)
        with load.running():
            server.reload(max_model_len=2048)
            until(lambda: server.problems, "the problem is reported")
        assert load.failures == []
        server.wait_until_one_is_left()


def test_the_server_is_ready_throughout_and_the_old_engine_finishes_its_requests(tmp_path: Path) -> None:
    """Also when the next engine dies meanwhile."""
    with Roomy(tmp_path, "--drain-timeout", "120", loading=["go", "wait 1"]) as server:
        server.wait_until_ready()
        old = {server.api, server.engine}
        url = f"http://127.0.0.1:{server.port}/generate"
        with httpx.stream("POST", url, json={**LONG, "stream": True}, timeout=60) as stream:
            lines = stream.iter_lines()  # its end would close the connection
            assert "token" in next(lines)
            server.reload(max_model_len=2048)
            while server.stdout.read_text().count("Listening on http://") < 2:
                assert server.ask("/readyz").status == 200
                time.sleep(0.02)
            assert server.ask("/generate", PROMPT).status == 200
            assert server.ask("/readyz").status == 200
            (next_engine,) = server.pids_of(TITLE) - old
            os.kill(next_engine, signal.SIGKILL)
            server.wait_until_ready_again(2)
            assert old <= server.processes().keys()
        server.wait_until_one_is_left()
        assert server.length == "2048"
        assert server.restarts == 1


def test_a_request_that_takes_too_long_is_ended_by_the_drain_timeout(tmp_path: Path) -> None:
    with Roomy(tmp_path, "--drain-timeout", "1") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        (running,) = in_flight(server, pool, LONG)
        server.reload(max_model_len=2048)
        assert running.result().status == 503
        assert running.result().json["error"].startswith("The engine is replaced")
        server.wait_until_one_is_left()


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("fail No memory.", "No memory: the engine"),
        nightly("hang", "The engine did not start within 10 s"),
        nightly("die", "The process that was to run the model was killed by SIGKILL: the engine"),
    ],
)
def test_a_successor_that_does_not_start_changes_nothing(tmp_path: Path, action: str, reason: str) -> None:
    """It is reported, and the next reload tries again."""
    with (
        Roomy(tmp_path, "--max-restarts", "0", loading=["go", action, "go"]) as server,
        ThreadPoolExecutor() as pool,
    ):
        server.wait_until_ready()
        engine, api = server.engine, server.api
        (running,) = in_flight(server, pool, lasting(4))
        server.reload(max_model_len=2048, start_timeout=10 if action == "hang" else 60)
        until(lambda: server.problems, "the problem is reported")
        assert server.problems[0].startswith("The configuration file cannot be used")
        assert samples(server.ask("/metrics").body.decode())["maritalk_file_usable", (("file", "config"),)] == 0
        (line,) = (line for line in server.stdout.read_text().splitlines() if "goes on serving" in line)
        assert reason in line
        server.wait_until_one_is_left()
        assert (server.engine, server.api) == (engine, api)
        assert running.result().status == 200
        assert server.restarts == 0
        server.reload(max_model_len=1024, start_timeout=60)
        server.wait_until_ready_again()
        until(lambda: not server.problems, "the file is in order")
        assert server.length == "1024"


def test_an_engine_that_dies_beside_its_successor_is_restarted_and_then_replaced(tmp_path: Path) -> None:
    """There may be too little memory for two: the second attempt is made after the end of the engine."""
    with (
        replacing(tmp_path, loading=["go", "hang", "go"]) as server,
        ThreadPoolExecutor() as pool,
    ):
        (running,) = in_flight(server, pool, lasting(2))
        os.kill(server.old_engine, signal.SIGKILL)
        assert running.result().status == 200  # by the engine that is started again
        server.wait_until_ready_again(2)
        server.wait_until_one_is_left()
        assert server.length == "2048"
        assert server.stdout.read_text().count(STARTING) == 1
        assert REPLACING in server.stdout.read_text()
        assert server.restarts == 1


def test_an_api_process_that_dies_beside_a_successor_is_replaced_with_its_engine(tmp_path: Path) -> None:
    with replacing(tmp_path, loading=["go", "hang", "go"]) as server:
        os.kill(server.old_api, signal.SIGKILL)
        server.wait_until_ready_again(2)
        server.wait_until_one_is_left()
        assert server.length == "2048"


def test_a_later_reload_replaces_or_withdraws_a_successor(tmp_path: Path) -> None:
    with replacing(tmp_path, loading=["go", "hang", "hang", "go"]) as server:
        server.reload(max_model_len=1024)
        server.wait_until_reached("loading", times=3)
        assert server.length == "1024"
        server.reload(max_model_len=4096)
        server.wait_until_one_is_left()
        assert server.engine == server.old_engine
        assert server.ask("/generate", PROMPT).status == 200
        server.reload(max_model_len=512)
        server.wait_until_ready_again()
        assert server.length == "512"


def test_other_options_are_applied_while_a_successor_starts(tmp_path: Path) -> None:
    """They neither start it again, nor are they lost when it takes over."""
    keys = tmp_path / "keys"
    keys.write_text("first-key-of-the-file\n")
    with Roomy(tmp_path, "--api-key-file", str(keys), loading=["go", "wait 3"]) as server:
        server.wait_until_ready()
        server.reload(max_model_len=2048)
        server.wait_until_reached("loading", times=2)
        keys.write_text("second-key-of-the-file\n")
        server.wait_until_ready_again()
        assert len(server.reached("loading")) == 2
        for key, expected in (("first", 401), ("second", 200)):
            headers = {"Authorization": f"Bearer {key}-key-of-the-file"}
            answer = httpx.post(f"http://127.0.0.1:{server.port}/generate", json=PROMPT, headers=headers)
            assert answer.status_code == expected


@pytest.mark.parametrize("stage", ["loading", "taken over"])
def test_a_stop_during_a_takeover(tmp_path: Path, stage: str) -> None:
    actions = ["go", "hang" if stage == "loading" else "go"]
    with Roomy(tmp_path, "--drain-timeout", "4", loading=actions) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        (running,) = in_flight(server, pool, lasting(3))
        server.reload(max_model_len=2048)
        if stage == "loading":
            server.wait_until_reached("loading", times=2)
        else:
            server.wait_until_ready_again()
        assert server.stop() < 12
        assert running.result().status == 200
        assert server.process.returncode == 0
        assert_nothing_left(server)
        assert list(server.temporary.glob("maritalk-*")) == []
