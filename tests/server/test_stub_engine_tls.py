"""HTTPS while a stub engine is replaced: none is refused, no answer is cut, and idle connections are closed."""

import asyncio
import json
import math
import select
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx
import pytest

from maritalk_vllm.server.process.api_server import INCOMPLETE_REQUEST_SECONDS
from tests.server.test_stub_engine_connections import REQUEST, Clients
from tests.server.test_stub_engine_drain import lasting
from tests.server.test_stub_engine_takeover import Roomy
from tests.server.test_tls import HOST, Authority
from tests.serving import until

LISTENING = "Listening on https://"
STREAM_SECONDS = 3


class Secure(Roomy):
    """A server with HTTPS, on a machine with room for a second engine."""

    def __init__(self, folder: Path, *arguments: str, **actions: list[str]) -> None:
        self.authority = Authority()
        settings = self.authority.certify(folder)
        files = ("--ssl-certfile", str(settings.ssl_certfile), "--ssl-keyfile", str(settings.ssl_keyfile))
        super().__init__(folder, *files, *arguments, **actions)

    def wait_until_ready(self) -> None:
        self.wait_for(LISTENING)

    def has_replaced(self) -> bool:
        """Whether a second engine serves."""
        return self.stdout.read_text().count(LISTENING) == 2

    def accepts(self, authority: Authority) -> bool:
        """Whether the certificate for a new connection is of this authority."""
        with httpx.Client(verify=authority.trusted, timeout=30) as client:
            try:
                return client.get(f"https://{HOST}:{self.port}/readyz").status_code == 200
            except httpx.ConnectError:
                return False


def connect(server: Roomy) -> socket.socket:
    """A connection. With TLS, `recv` raises OSError at an end without the server's closing message."""
    plain = socket.create_connection((HOST, server.port), timeout=60)
    if not isinstance(server, Secure):
        return plain
    return server.authority.trusted.wrap_socket(plain, server_hostname=HOST, suppress_ragged_eofs=False)


class Connection:
    """A client's connection with TLS."""

    def __init__(self, server: Secure) -> None:
        self._socket = connect(server)

    def close(self) -> None:
        self._socket.close()

    @property
    def is_readable(self) -> bool:
        """Whether something has arrived, such as the end of the connection."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        """What arrives next; empty after the server's closing message."""
        return self._socket.recv(1 << 16)

    def rest(self) -> bytes:
        """All up to the server's closing message."""
        return b"".join(iter(self.receive, b""))

    def use(self) -> Self:
        """Send a request and receive the answer, after which the connection is idle."""
        self.send(REQUEST)
        head, _, body = self.receive().partition(b"\r\n\r\n")
        length = next(int(line.split()[1]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += self.receive()
        return self


def request(body: dict[str, object]) -> bytes:
    """A whole request to generate."""
    content = json.dumps(body).encode()
    return b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def stream() -> bytes:
    """A request for a stream that takes STREAM_SECONDS."""
    return request({**lasting(STREAM_SECONDS), "stream": True})


def is_whole_stream(response: bytes) -> bool:
    return b"event: end" in response and response.endswith(b"0\r\n\r\n")


def test_a_replacement_refuses_and_cuts_no_tls_connection(tmp_path: Path) -> None:
    """Of new clients, streams and idle connections. A certificate that is renewed meanwhile is used after it."""
    renewed = Authority()
    with Secure(tmp_path, loading=["go", "wait 2"]) as server, ThreadPoolExecutor() as pool:
        server.wait_until_ready()
        trusted = ssl.create_default_context()
        for authority in (server.authority, renewed):
            authority.add_to(trusted)
        idle = [Connection(server).use() for _ in range(4)]
        streams = [Connection(server).use() for _ in range(4)]
        server.reload(max_model_len=2048)
        server.wait_until_reached("loading", times=2)
        renewed.certify(tmp_path)
        until(lambda: server.accepts(renewed), "the renewed certificate")
        for each in streams:
            each.send(stream())
        answers = [pool.submit(each.rest) for each in streams]
        outcomes = asyncio.run(Clients(server.port, 1, trusted).run(server.has_replaced, at_least=60))
        assert set(outcomes) == {"200"}
        assert all(is_whole_stream(each.result()) for each in answers)
        assert [each.rest() for each in idle] == [b""] * len(idle)
        server.wait_until_one_is_left()
        assert server.length == "2048"
        assert (server.accepts(renewed), server.accepts(server.authority)) == (True, False)
        for each in (*idle, *streams):
            each.close()


def use_unless_closed(connection: Connection, seconds: float) -> bytes:
    """Send a request after `seconds`, like a client that first looks whether the server has closed the connection."""
    time.sleep(seconds)
    if not connection.is_readable:
        connection.send(stream())
    return connection.rest()


def test_an_idle_tls_connection_is_closed_or_its_next_request_is_answered(tmp_path: Path) -> None:
    """Whenever that arrives while the old engine ends, which a connection without any request delays."""
    with Secure(tmp_path) as server, ThreadPoolExecutor(20) as pool:
        server.wait_until_ready()
        connections = [Connection(server).use() for _ in range(20)]
        unused = Connection(server)
        server.reload(max_model_len=2048)
        server.wait_for_text(LISTENING, 2)
        seconds = (0.5 + number / 10 for number in range(len(connections)))
        answers = list(pool.map(use_unless_closed, connections, seconds))
        assert [each for each in answers if each and not is_whole_stream(each)] == []
        server.wait_until_one_is_left()
        for each in (*connections, unused):
            each.close()


@pytest.mark.parametrize("kind", [Roomy, Secure])
def test_a_request_that_is_sent_slowly_during_a_replacement_is_answered(tmp_path: Path, kind: type[Roomy]) -> None:
    """Its connection cannot be passed on: it has TLS, or more has arrived than is kept for that."""
    content = b"%s%s" % (b" " * 64 * 1024, json.dumps({"prompt": "1 2 3", "max_tokens": 2}).encode())
    head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(content)
    begin, rest = content[: 48 * 1024], content[48 * 1024 :]
    with kind(tmp_path) as server:
        server.wait_until_ready()
        with connect(server) as connection:
            connection.sendall(head + begin)
            server.reload(max_model_len=2048)
            began, replaced = time.monotonic(), math.inf
            while time.monotonic() < replaced + INCOMPLETE_REQUEST_SECONDS + 1:
                connection.sendall(rest[:1])  # a longer pause would end it
                rest = rest[1:]
                time.sleep(0.1)
                if server.stdout.read_text().count("Listening on http") == 2:
                    replaced = min(replaced, time.monotonic())
                assert replaced < math.inf or time.monotonic() < began + 60
            connection.sendall(rest)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        server.wait_until_one_is_left()
