"""Thousands of requests, of which some are aborted and some invalid; and hundreds of slow bodies."""

import contextlib
import http.client
import json
import os
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import psutil
import pytest

from tests.chaos.load import ENDLESS
from tests.serving import Server, note, until

pytestmark = pytest.mark.chaos

REQUESTS = int(os.environ.get("CHAOS_REQUESTS", "10000"))
CLIENTS = 64
TOKENS = 4
SLOW = 500
INVALID = [b"", b"{", b"[]", b'{"prompt": 3}', b'{"prompt": "a", "max_tokens": -1}', b"\xff\xfe", b'{"messages": []}']


@pytest.fixture
def server(shared_server: Server) -> Server:
    return shared_server


def api_process(server: Server) -> psutil.Process:
    (pid,) = (pid for pid, line in server.processes().items() if line.startswith("maritalk: serve"))
    return psutil.Process(pid)


def prompt(words: int) -> dict[str, object]:
    return {"prompt": "um " * words, "max_tokens": TOKENS, "do_sample": False, "return_usage": True}


@pytest.mark.nightly  # by day: disconnects in tests/api/test_local.py, wrong bodies in tests/api/test_bad_input.py
def test_aborted_and_invalid_requests_do_not_affect_the_others(server: Server) -> None:
    # Each prompt has its own number of tokens, which shows that a response belongs to it.
    tokens = {words: server.ask("/generate", prompt(words)).json["usage"]["prompt_tokens"] for words in range(1, 21)}
    assert len(set(tokens.values())) == len(tokens)
    process = api_process(server)
    begun = process.num_fds()
    counts: Counter[str] = Counter()
    sizes: dict[int, int] = {}
    numbers = iter(range(REQUESTS))
    lock = threading.Lock()

    def one(number: int) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        try:
            if number % 10 == 0:
                body = json.dumps({"prompt": "Era uma vez", "max_tokens": 200, "stream": number % 20 == 0})
                connection.request("POST", "/generate", body)
                time.sleep(random.Random(number).uniform(0, 0.3))
                return "aborted"
            if number % 10 == 1:
                connection.request("POST", "/generate", INVALID[number // 10 % len(INVALID)])
                assert connection.getresponse().status == 400
                return "invalid"
            words = number % 20 + 1
            connection.request("POST", "/generate", json.dumps(prompt(words)))
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            assert reply.status == 200, answer
            assert answer["usage"]["prompt_tokens"] == tokens[words]
            return "answered"
        finally:
            connection.close()

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
                if number is None:
                    return
                if number in (REQUESTS // 2, REQUESTS - 1):
                    sizes[number] = process.memory_info().rss
            kind = one(number)
            with lock:
                counts[kind] += 1

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()
    seconds = time.monotonic() - began
    assert sum(counts.values()) == REQUESTS
    until(lambda: server.ask().json["status"] == "idle", "idle", 10)
    until(lambda: process.num_fds() <= begun + 2, f"as few descriptors as the {begun} before", 10)
    growth = sizes[REQUESTS - 1] / sizes[REQUESTS // 2] - 1
    note(
        f"{REQUESTS} requests from {CLIENTS} clients in {seconds:.0f} s: {dict(counts)}; the API process grew by "
        f"{growth:.1%} in the second half; open descriptors {begun} before, {process.num_fds()} after"
    )
    assert growth < 0.05


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnected_client_frees_its_place(server: Server, stream: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/generate", json.dumps({**ENDLESS, "stream": stream}))
    until(lambda: server.ask().json["status"] == "busy", "a request in flight")
    connection.close()
    closed = time.monotonic()
    until(lambda: server.ask().json["status"] == "idle", "idle", 10)
    how = "with a stream" if stream else "without a stream"
    note(f"a client that disconnects, {how}: its place is free {time.monotonic() - closed:.2f} s later")


@pytest.mark.nightly  # by day: tests/http/test_client_limits.py
def test_slow_bodies_do_not_delay_other_requests(server: Server) -> None:
    def latency() -> float:
        return median(server.ask("/generate", prompt(5)).seconds for _ in range(15))

    alone = latency()
    with contextlib.ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(SLOW)
        ]
        for each in slow:
            each.sendall(b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.2):
                for each in slow:
                    each.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            beside = latency()
            assert server.ask().json["status"] == "idle"
        finally:
            stop.set()
            dripping.join()
    note(f"latency beside {SLOW} connections whose bodies drip: {beside / alone:.2f} times that alone")
    assert server.ask("/generate", prompt(3)).status == 200
