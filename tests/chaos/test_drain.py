"""SIGTERM with two hundred in-flight requests: each receives a response or an error."""

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.load import ENDLESS, Outcome, ask
from tests.server.test_stop import assert_nothing_left
from tests.serving import Server, note, until

pytestmark = pytest.mark.chaos

REQUESTS = 200
LATE = 20
WARM_UPS = 2
"""Requests that the server itself sends before it is ready."""

DRAIN_SECONDS = 20
LENGTHS = [8, 16, 32, 64, 4000]
"""In tokens. The last does not finish within the drain timeout."""


@pytest.mark.nightly
def test_a_drain_loses_no_request(tmp_path: Path, prepared_cache: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--drain-timeout", str(DRAIN_SECONDS))
    server.wait_until_ready()
    bodies = [
        {"prompt": f"{number}: 1 2 3", "max_tokens": LENGTHS[number % len(LENGTHS)], "stream": bool(number % 2)}
        for number in range(REQUESTS)
    ]
    with ThreadPoolExecutor(REQUESTS + LATE) as pool:
        running = [pool.submit(ask, server, body) for body in bodies]
        until(lambda: accepted(server) >= REQUESTS * 0.9, "requests in flight", 60)
        server.process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        until(lambda: drains(server), "a server that drains", 10)
        ready, live, status = server.ask("/readyz"), server.ask("/livez"), server.ask("/")
        late = [pool.submit(ask, server, body) for body in bodies[:LATE]]
        seen = [each.result() for each in running]
        rejected = [each.result() for each in late]
    server.process.wait(timeout=30)
    seconds = time.monotonic() - signalled
    outcomes = Counter(each.outcome for each in seen)
    note(
        f"SIGTERM with {REQUESTS} requests in flight, {DRAIN_SECONDS} s to finish: {dict(outcomes)}; "
        f"{LATE} more rejected; all gone {seconds:.1f} s later"
    )
    assert (ready.status, live.status, status.json) == (503, 200, {"status": "draining"})
    assert all(each.outcome is Outcome.REJECTED and each.status == 503 and each.retry_after for each in rejected)
    assert outcomes[Outcome.CUT] == 0
    # Every request that is short enough was answered, whenever it was scheduled.
    for body, each in zip(bodies, seen, strict=True):
        assert (
            each.outcome is Outcome.ANSWERED
            or each.ended - signalled > DRAIN_SECONDS - 1
            or body["max_tokens"] == LENGTHS[-1]
        )
    assert server.process.returncode == 0
    assert_nothing_left(server)


def accepted(server: Server) -> int:
    """The number of requests that the engine has accepted so far, finished ones included."""
    lines = server.ask("/metrics").body.decode().splitlines()
    names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{", "vllm:request_success_total{")
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(names)))


def drains(server: Server) -> bool:
    return b'maritalk_server_state{maritalk_server_state="draining"} 1.0' in server.ask("/metrics").body


@pytest.mark.nightly
def test_a_second_signal_aborts_a_drain(tmp_path: Path, prepared_cache: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    server.wait_until_ready()
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask, server, ENDLESS) for _ in range(4)]
        until(lambda: accepted(server) >= 4 + WARM_UPS, "requests in flight")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: drains(server), "a server that drains", 10)
        assert server.process.poll() is None
        seconds = server.stop(signal.SIGTERM)
        assert seconds < 5
        assert all(each.result().outcome in (Outcome.CUT, Outcome.REJECTED) for each in running)
    note(f"second SIGTERM: everything ended {seconds:.2f} s later")
    assert_nothing_left(server)
