"""A stub engine without room for a second one is replaced: requests are finished or wait, and none is refused."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.counting import samples
from tests.lanes import nightly
from tests.models.files import model
from tests.server.startup.test_preflight import TOKENIZER
from tests.server.test_stop import assert_nothing_left
from tests.server.test_stub_engine_drain import LONG, in_flight
from tests.serving import Answer, note, until
from tests.stub_engine.server import StubServer

CLIENTS = 32
TOKENS = 20
PROMPT = {"prompt": "1 2 3", "max_tokens": TOKENS}
REPLACING = "The configuration has changed: replacing the engine."
WEIGHTS = {"model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64])}


class Reloaded(StubServer):
    """A server with a configuration file, on a machine without room for a second engine, unless `room` is given."""

    def __init__(self, folder: Path, *arguments: str, **actions: list[str]) -> None:
        self.config = folder / "config.yaml"
        self.model = model(folder / "model", WEIGHTS, max_position_embeddings=8192)
        (self.model / "tokenizer.json").write_text(TOKENIZER)
        self.write(max_model_len=4096)
        super().__init__(folder, "--config", str(self.config), *arguments, **{"room": ["none"], **actions})

    def write(self, **configuration: object) -> None:
        """Write the configuration file."""
        options = {"model": str(self.model), **configuration}
        self.config.write_text("".join(f"{name}: {value}\n" for name, value in options.items()))

    def reload(self, **configuration: object) -> None:
        """Write the configuration, and send SIGHUP."""
        self.write(**configuration)
        self.process.send_signal(signal.SIGHUP)


class Load:
    """Clients that send one request after another, half of them streams, on connections that they keep."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/generate"
        self._ends = threading.Event()
        self.failures: list[str] = []
        self.answered: list[float] = []
        """When each answer was complete."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests inside this context, and then wait for the last answers."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._send_requests, streams=number % 2 == 0) for number in range(CLIENTS)]
            try:
                yield
            finally:
                self._ends.set()
            for each in clients:
                each.result()

    def _send_requests(self, *, streams: bool) -> None:
        expected = TOKENS * (2 if streams else 1)  # a stream ends with an event that has all of them again
        with httpx.Client(timeout=60) as client:
            while not self._ends.is_set():
                try:
                    answer = client.post(self._url, json={**PROMPT, "stream": streams})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code != 200 or answer.text.count("token") != expected:
                    self.failures.append(f"{answer.status_code} {answer.text}")
                self.answered.append(time.monotonic())

    @property
    def longest_pause(self) -> float:
        """The longest time without an answer, in seconds."""
        return max(after - before for before, after in zip(self.answered, self.answered[1:], strict=False))


@pytest.mark.parametrize("processes", [nightly("1"), "2"])
def test_a_reload_under_load_refuses_and_loses_no_request(tmp_path: Path, processes: str) -> None:
    with Reloaded(tmp_path, "--api-processes", processes) as server:
        server.wait_until_ready()
        assert server.length == "4096"
        load = Load(server.port)
        with load.running():
            until(lambda: len(load.answered) > 2 * CLIENTS, "requests are answered")
            server.reload(max_model_len=2048)
            server.wait_until_ready_again()
            before = len(load.answered)
            until(lambda: len(load.answered) > before + 2 * CLIENTS, "requests are answered by the next engine")
        assert load.failures == []
        note(f"Reload with {processes} API processes: {load.longest_pause:.1f} s without an answer.")
        assert server.length == "2048"
        assert REPLACING in server.stdout.read_text()
        metrics = samples(server.ask("/metrics").body.decode())
        assert metrics["maritalk_engine_restarts_total", ()] == 0
        assert server.problems == []
        assert server.stop() < 30
        assert_nothing_left(server)


def test_a_reload_to_a_broken_model_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """It is reported, and the limits of the same file are not applied either."""
    with Reloaded(tmp_path) as server:
        server.wait_until_ready()
        engine = server.engine
        (tmp_path / "broken").mkdir()
        server.reload(max_model_len=4096, model=tmp_path / "broken")
        until(lambda: server.problems, "the problem is reported")
        (problem,) = server.problems
        assert problem.startswith("The configuration file cannot be used")
        assert samples(server.ask("/metrics").body.decode())["maritalk_file_usable", (("file", "config"),)] == 0
        until(lambda: "broken" in server.engine_log.read_text(), "the reason is logged")
        assert server.ask("/generate", PROMPT).status == 200
        assert server.engine == engine
        server.reload(max_model_len=4096)
        until(lambda: not server.problems, "the file is in order")
        assert REPLACING not in server.stdout.read_text()


def test_the_old_engine_is_started_again_if_the_next_one_fails(tmp_path: Path) -> None:
    """A request that waits is answered by it, and no restart is counted."""
    with (
        Reloaded(tmp_path, "--max-restarts", "0", loading=["go", "wait 2; fail No room.", "go"]) as server,
        ThreadPoolExecutor() as pool,
    ):
        server.wait_until_ready()
        server.reload(max_model_len=2048)
        server.wait_until_reached("loading", times=2)
        assert server.length == "2048"
        waiting = pool.submit(server.ask, "/generate", PROMPT)
        server.wait_until_ready_again()
        assert waiting.result().status == 200
        assert server.length == "4096"
        assert "No room: starting the engine with the earlier settings again." in server.stdout.read_text()
        until(lambda: server.problems, "the failure is reported")
        assert samples(server.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()] == 0
        server.reload(max_model_len=1024)
        server.wait_until_ready_again(2)
        assert server.length == "1024"
        until(lambda: not server.problems, "the file is in order")


def replaced_while_busy(server: Reloaded, pool: ThreadPoolExecutor) -> Future[Answer]:
    """Reload while a request is in flight that does not end; return it once the engine is being replaced."""
    (running,) = in_flight(server, pool, LONG)
    server.reload(max_model_len=2048)
    until(lambda: REPLACING in server.stdout.read_text(), "the engine is replaced")
    return running


def test_a_replaced_engine_is_given_the_drain_timeout(tmp_path: Path) -> None:
    with Reloaded(tmp_path, "--drain-timeout", "1") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        running = replaced_while_busy(server, pool)
        waiting = pool.submit(server.ask, "/generate", PROMPT)
        assert (running.result().status, running.result().json["error"]) == (
            503,
            "The engine is replaced, and does not wait for this request any longer. Send it again.",
        )
        assert waiting.result().status == 200
        server.wait_until_ready_again()
        assert server.length == "2048"


def test_requests_of_an_engine_that_dies_while_it_is_replaced_end_with_it(tmp_path: Path) -> None:
    """Another model may follow: nothing waits for it at the old API process."""
    with Reloaded(tmp_path, "--drain-timeout", "60") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        running = replaced_while_busy(server, pool)
        os.kill(server.engine, signal.SIGKILL)
        assert running.result().status == 503
        server.wait_until_ready_again()
        assert server.length == "2048"


def test_an_api_process_that_hangs_while_its_engine_is_replaced_is_killed_with_it(tmp_path: Path) -> None:
    with Reloaded(tmp_path, "--drain-timeout", "60", "--api-timeout", "5") as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        api = server.api
        running = replaced_while_busy(server, pool)
        os.kill(api, signal.SIGSTOP)
        os.kill(server.engine, signal.SIGKILL)
        server.wait_until_ready_again()
        assert not psutil.pid_exists(api)
        with pytest.raises((httpx.HTTPError, OSError)):
            running.result()


def test_a_reload_during_a_replacement_is_applied_after_it(tmp_path: Path) -> None:
    with Reloaded(tmp_path, loading=["go", "wait 2", "go"]) as server:
        server.wait_until_ready()
        server.reload(max_model_len=2048)
        server.wait_until_reached("loading", times=2)
        server.reload(max_model_len=1024)
        server.wait_until_ready_again(2)
        assert server.length == "1024"


@pytest.mark.parametrize("stage", ["draining", "loading"])
def test_a_stop_during_a_replacement(tmp_path: Path, stage: str) -> None:
    actions = ["go", "hang"]
    with Reloaded(tmp_path, "--drain-timeout", "2", loading=actions) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        if stage == "draining":
            replaced_while_busy(server, pool)
        else:
            server.reload(max_model_len=2048)
            server.wait_until_reached("loading", times=2)
        assert server.stop() < 12
        assert server.process.returncode == 0
        assert_nothing_left(server)
