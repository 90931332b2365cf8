"""A start waits for the port of a maritalk-serve that stops, and for no other program's."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from maritalk_vllm.server.startup import port_wait
from maritalk_vllm.server.startup.port_wait import wait_for_stopping_server
from tests.serving import free_port

HOLD = """
import socket, sys, time, setproctitle
setproctitle.setproctitle(sys.argv[1])
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print(flush=True)
time.sleep(float(sys.argv[3]))
"""


@contextlib.contextmanager
def holder(title: str, seconds: float) -> Iterator[tuple[int, int]]:
    """A process with this title that listens for so many seconds: its port and its pid."""
    port = free_port()
    command = [sys.executable, "-c", HOLD, title, str(port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port, process.pid
        finally:
            process.kill()


def test_the_port_of_a_server_that_stops_is_waited_for() -> None:
    reports: list[str] = []
    with holder("maritalk-serve http://0.0.0.0:9000 (stopping)", 1) as (port, pid):
        wait_for_stopping_server("127.0.0.1", port, reports.append)
        socket.create_server(("127.0.0.1", port)).close()
    assert reports == [
        f"Port {port} is in use by a maritalk-serve that is stopping, process {pid}. Waiting for its end."
    ]


@pytest.mark.parametrize("title", ["maritalk-serve http://0.0.0.0:9000", "other (stopping)"])
def test_no_other_program_is_waited_for(title: str) -> None:
    with holder(title, 60) as (port, _):
        assert_returns_at_once("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no such name"])
def test_a_free_port_and_an_address_that_cannot_be_used_are_not_waited_for(host: str) -> None:
    assert_returns_at_once(host, free_port())


def test_the_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_wait, "WAIT_SECONDS", 0.5)
    reports: list[str] = []
    with holder("maritalk-serve http://0.0.0.0:9000 (stopping)", 60) as (port, _):
        wait_for_stopping_server("127.0.0.1", port, reports.append)
    assert len(reports) == 1


def assert_returns_at_once(host: str, port: int) -> None:
    reports: list[str] = []
    began = time.monotonic()
    wait_for_stopping_server(host, port, reports.append)
    assert time.monotonic() - began < port_wait.WAIT_SECONDS / 2
    assert not reports
