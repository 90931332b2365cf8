"""Several API processes with one stub engine: they share the port, the limits and the metrics, and each is replaced."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from tests.batches.samples import line
from tests.counting import samples
from tests.server.test_stop import assert_nothing_left
from tests.server.test_stub_engine_batches import batch_of, metric, submit
from tests.serving import Server, until
from tests.stub_engine.server import StubServer

PROMPT = {"prompt": "1 2 3", "max_tokens": 2}
LASTING = {"prompt": "1 2 3", "max_tokens": 150}
LONG = {"prompt": "1 2 3", "max_tokens": 100_000, "stream": True}
KEY = "a-key-of-this-test-that-is-long-enough"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class Client:
    """A client's connection, which one of the API processes has accepted."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, server: Server, timeout: float = 60) -> None:
        self.opened.append(self)
        self._response: http.client.HTTPResponse | None = None
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
        self._connection.connect()
        port = self._connection.sock.getsockname()[1]

        def accepted() -> bool:
            self.process = next((pid for pid in server.apis if _has_connection(pid, port)), 0)
            return self.process != 0

        until(accepted, "an API process that accepts the connection")

    def send(self, path: str, body: object = None) -> None:
        """Send a request."""
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": "application/json", **AUTHORIZED})

    def receive(self) -> tuple[int, bytes]:
        """The status and the whole body of the response."""
        response = self._connection.getresponse()
        return response.status, response.read()

    def begin(self, body: object = LONG) -> http.client.HTTPResponse:
        """Send a request for a long stream, and wait for its first token."""
        self.send("/generate", body)
        response = self._response = self._connection.getresponse()
        assert response.status == 200
        assert response.readline().startswith(b"data: ")
        return response

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    @classmethod
    def close_all(cls) -> None:
        """Close all connections that were opened."""
        while cls.opened:
            cls.opened.pop().close()

    def ask(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Send a request, and receive the response."""
        self.send(path, body)
        return self.receive()


def _has_connection(pid: int, port: int) -> bool:
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(each.raddr and each.raddr.port == port for each in found)


@contextmanager
def two_processes(folder: Path, *arguments: str, **actions: list[str]) -> Iterator[StubServer]:
    """A server with two API processes, which is ready."""
    with StubServer(folder, "--api-processes", "2", *arguments, **actions) as server:
        server.wait_until_ready()
        assert len(server.apis) == 2
        try:
            yield server
        finally:
            Client.close_all()


def client_of(server: Server, process: int, timeout: float = 60) -> Client:
    """A connection that a certain API process has accepted."""
    for _ in range(200):
        if (client := Client(server, timeout)).process == process:
            return client
    raise AssertionError(f"{process} accepts no connection")


def has_been_replaced(server: Server, process: int) -> bool:
    """Whether another API process runs in the place of one that has died."""
    return len(server.apis) == 2 and process not in server.apis


def total(server: Server, name: str, **labels: str) -> float:
    """The sum of a metric over the series that have these labels."""
    found = samples(server.ask("/metrics").body.decode())
    return sum(
        value for (each, having), value in found.items() if each == name and labels.items() <= dict(having).items()
    )


def test_an_api_process_that_dies_loses_only_its_own_connections(tmp_path: Path) -> None:
    with two_processes(tmp_path) as server:
        engine, (first, second) = server.engine, server.apis
        lost, kept = client_of(server, first).begin(), client_of(server, second).begin()
        os.kill(first, signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            lost.read()
        began = time.monotonic()
        while len(server.apis) != 2 or time.monotonic() - began < 0.5:
            assert server.ask("/generate", PROMPT).status == 200
            assert kept.readline()
        replaced = next(pid for pid in server.apis if pid != second)
        server.wait_for_text("One of the API processes ended, and is replaced; the others continue.", 1)
        assert client_of(server, replaced).ask("/generate", PROMPT)[0] == 200
        assert client_of(server, replaced).ask("/")[1] == b'{"status":"busy"}'  # with the other one's request
        server.wait_until_reached("aborted")  # the lost request, in the engine
        assert kept.readline()
        assert server.engine == engine
        assert total(server, "stub_requests_running") == 1
        assert total(server, "maritalk_engine_restarts_total") == 0


def test_only_the_api_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    with two_processes(tmp_path, "--api-timeout", "3") as server:
        engine, (first, second) = server.engine, server.apis
        kept = client_of(server, second)
        os.kill(first, signal.SIGSTOP)
        until(partial(has_been_replaced, server, first), "another API process", 60)
        server.wait_for_text("it gave no sign of life for 3 s.", 1)
        assert kept.ask("/generate", PROMPT)[0] == 200
        assert (second in server.apis, server.engine) == (True, engine)


def test_metrics_are_the_sum_over_all_api_processes_and_do_not_decrease(tmp_path: Path) -> None:
    with two_processes(tmp_path) as server:
        for process, number in zip(server.apis, (3, 4), strict=True):
            client = client_of(server, process)
            for _ in range(number):
                assert client.ask("/generate", PROMPT)[0] == 200
        for process in server.apis:
            found = samples(client_of(server, process).ask("/metrics")[1].decode())
            (requests,) = (value for (name, labels), value in found.items() if name == "maritalk_requests_total")
            assert requests == 7
            assert found["maritalk_request_seconds_count", (("route", "/generate"),)] == 7
            assert found["maritalk_tokens_total", (("key", ""), ("kind", "answer"))] == 14
            assert found["maritalk_server_state", (("maritalk_server_state", "ready"),)] == 1
        os.kill(server.apis[0], signal.SIGKILL)
        server.wait_until_reached("warming_up", times=3)
        assert total(server, "maritalk_requests_total") == 7


def test_a_limit_of_a_key_holds_over_all_api_processes(tmp_path: Path) -> None:
    with two_processes(tmp_path, "--api-key", KEY, "--requests-per-minute", "5") as server:
        clients = [client_of(server, process) for process in server.apis]
        statuses = [client.ask("/generate", PROMPT)[0] for client in clients * 4]
        assert statuses == [200] * 5 + [429] * 3


def test_the_answers_of_a_key_are_counted_over_all_api_processes(tmp_path: Path) -> None:
    """Also after one of the processes has died with an answer in progress."""
    with two_processes(tmp_path, "--api-key", KEY, "--answers-per-key", "2") as server:
        first, second = server.apis
        streams = [client_of(server, first).begin(), client_of(server, second).begin()]
        assert client_of(server, second).ask("/generate", PROMPT)[0] == 429
        os.kill(first, signal.SIGKILL)
        until(lambda: client_of(server, second).ask("/generate", PROMPT)[0] == 200, "the end of the lost answer")
        del streams


def test_lines_of_batches_make_room_for_the_requests_of_all_api_processes(tmp_path: Path) -> None:
    """Lines are computed in one of the processes: the requests of the other one count as well."""
    with two_processes(tmp_path) as server:
        submit(server, [line(f"id-{index}", max_tokens=200) for index in range(10_000)])
        for process in server.apis:
            until(lambda: total(server, "maritalk_batch_window") > 20, "all places for lines", 60)
            client = client_of(server, process)
            client.begin()
            until(lambda: total(server, "maritalk_batch_window") == 1, "room for a request")
            client.close()


def test_the_tokens_of_batches_are_counted_over_all_api_processes(tmp_path: Path) -> None:
    """Each of the processes dies: one of them computes the batch, and another one goes on with it."""
    with two_processes(tmp_path, "--api-key", KEY, "--batch-tokens-per-minute", "60") as server:
        # The first line uses the tokens of ten minutes.
        batch_id = submit(server, [line("long", max_tokens=597), *(line(f"id-{index}") for index in range(5))], KEY)
        waits = "a batch that waits for tokens"
        until(lambda: keys_waiting(server) == 1 and completed(server, batch_id) == 1, waits, 60)
        for process in server.apis:
            os.kill(process, signal.SIGKILL)
            until(partial(has_been_replaced, server, process), "another API process", 60)
            until(lambda: keys_waiting(server) == 1, waits, 60)
        assert completed(server, batch_id) == 1


def keys_waiting(server: StubServer) -> float:
    return metric(server, "maritalk_batch_keys_waiting", key=KEY)


def completed(server: StubServer, batch_id: str) -> object:
    return batch_of(server, batch_id, KEY)["request_counts"]["completed"]


def test_both_api_processes_finish_their_requests_when_the_server_stops(tmp_path: Path) -> None:
    with two_processes(tmp_path) as server:
        clients = [client_of(server, process) for process in server.apis]
        for client in clients:
            client.send("/generate", LASTING)
        until(lambda: total(server, "stub_requests_running") == 2, "requests in flight")
        server.process.send_signal(signal.SIGTERM)
        assert [client.receive()[0] for client in clients] == [200, 200]
        server.process.wait(20)
        assert server.process.returncode == 0
        assert_nothing_left(server)


def test_requests_of_all_api_processes_are_finished_by_the_next_stub_engine(tmp_path: Path) -> None:
    with two_processes(tmp_path, loading=["go", "wait 1"]) as server:
        processes, engine = server.apis, server.engine
        clients = [client_of(server, process) for process in processes for _ in range(2)]
        for client in clients:
            client.send("/generate", LASTING)
        until(lambda: total(server, "stub_requests_running") == 4, "requests in flight")
        os.kill(engine, signal.SIGKILL)
        for client in clients:
            status, body = client.receive()
            assert (status, json.loads(body)["output"].split()) == (200, ["token"] * 150)
        server.wait_until_ready_again()
        assert server.apis == processes
        assert total(server, "maritalk_engine_restarts_total") == 1


def test_without_resume_all_api_processes_end_with_the_stub_engine(tmp_path: Path) -> None:
    with two_processes(tmp_path, "--no-resume-requests") as server, ThreadPoolExecutor() as pool:
        processes = server.apis
        clients = [client_of(server, process) for process in processes]
        for client in clients:
            client.send("/generate", LASTING)
        until(lambda: total(server, "stub_requests_running") == 2, "requests in flight")
        os.kill(server.engine, signal.SIGKILL)
        assert [answer[0] for answer in pool.map(Client.receive, clients)] == [503, 503]
        server.wait_until_ready_again()
        assert not set(server.apis) & set(processes)
        assert client_of(server, server.apis[0]).ask("/generate", PROMPT)[0] == 200


def test_a_reload_reaches_all_api_processes(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("another-key-that-is-long-enough\n")
    with two_processes(tmp_path, "--api-key-file", str(keys)) as server:
        clients = [client_of(server, process) for process in server.apis]
        assert [client.ask("/generate", PROMPT)[0] for client in clients] == [401, 401]
        keys.write_text(f"{KEY}\n")
        until(lambda: [client.ask("/generate", PROMPT)[0] for client in clients] == [200, 200], "the new key")


@pytest.mark.nightly
def test_an_engine_without_a_free_address_is_replaced_and_its_requests_continue(tmp_path: Path) -> None:
    """The engine of a server with two API processes has addresses for four more."""
    with two_processes(tmp_path) as server:
        engine, (_, kept) = server.engine, server.apis
        client = client_of(server, kept)
        client.send("/generate", {"prompt": "1 2 3", "max_tokens": 2000, "return_usage": True})
        for number in range(5):
            server.wait_until_reached("warming_up", times=2 + number)
            (victim,) = set(server.apis) - {kept}
            client_of(server, victim)  # it serves
            os.kill(victim, signal.SIGKILL)
            until(partial(has_been_replaced, server, victim), "another API process")
        status, body = client.receive()
        assert (status, json.loads(body)["usage"]["completion_tokens"]) == (200, 2000)
        assert server.engine != engine
        assert total(server, "maritalk_engine_restarts_total") == 1
