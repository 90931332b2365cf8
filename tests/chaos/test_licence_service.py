"""The licence service with 200 concurrent clients, while some keys are revoked and links expire."""

import http.client
import json
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from maritalk_vllm.tools.license_server import license_keys
from tests.serving import note
from tests.tools.license_server.conftest import WEIGHTS, add_weights
from tests.tools.license_server.running import Running

pytestmark = pytest.mark.chaos

CLIENTS = 200
ROUNDS = 3
LINK_SECONDS = 2
REJECTIONS = {
    "unknown": (401, b"unknown"),
    "expired": (403, b"expired on"),
    "revoked": (403, b"revoked on"),
    "other model": (403, b"not for the model"),
}
KINDS = ["small", "demo", "small", "demo", "revoked meanwhile", *REJECTIONS]


@dataclass
class Exchange:
    """When a request was sent and answered, in Unix seconds, and its response."""

    began: float
    ended: float
    status: int
    body: bytes


class Client:
    """A client with its own key, which sends requests on one connection."""

    def __init__(self, service: Running, kind: str) -> None:
        self.kind = kind
        self.model = kind if kind in WEIGHTS else "small"
        self.asked: list[Exchange] = []
        self.fetched: list[tuple[str, Exchange]] = []
        self._key = make_key(service, kind)
        self._connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=60)

    def run(self, start: threading.Barrier) -> None:
        start.wait()
        for _ in range(ROUNDS):
            self.ask()
        self.close()

    def ask(self) -> None:
        """Request a link, and download from it at once."""
        body = json.dumps({"license": self._key, "cuda_version": "12.2"})
        seen = self._send("POST", "/local/download", body, Prefer=f"artifact=weights, model={self.model}")
        self.asked.append(seen)
        if seen.status == 200:
            self.fetch(json.loads(seen.body)["presigned_url"])

    def fetch(self, link: str) -> None:
        parts = urlsplit(link)
        self.fetched.append((link, self._send("GET", f"{parts.path}?{parts.query}")))

    def close(self) -> None:
        """Close the connection, since the service would close it when idle; the next request opens a new one."""
        self._connection.close()

    def _send(self, method: str, path: str, body: str | None = None, **headers: str) -> Exchange:
        began = time.time()
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        return Exchange(began, time.time(), answer.status, content)


def make_key(service: Running, kind: str) -> str:
    if kind == "unknown":
        return "AAAAA-BBBBB-CCCCC-DDDDD"
    models = {"demo": ("small", "demo"), "other model": ("demo",)}.get(kind, ("small",))
    ends = datetime.now(UTC) - timedelta(seconds=1) if kind == "expired" else None
    key = license_keys.add(service.database, models, kind, ends)
    if kind == "revoked":
        revoke(service, kind)
    return key


def revoke(service: Running, kind: str) -> None:
    for key in license_keys.list_keys(service.database):
        if key.licensee == kind and key.revoked is None:
            license_keys.revoke(service.database, key.id)


def check(client: Client, revoked: tuple[float, float]) -> None:
    """Check each response against the key and the time. `revoked`: when the revocation began and ended."""
    if client.kind in REJECTIONS:
        status, says = REJECTIONS[client.kind]
        assert not client.fetched
        assert all(seen.status == status and says in seen.body for seen in client.asked)
        return
    for link, seen in [("", seen) for seen in client.asked] + client.fetched:
        ends = expires(link) if link else float("inf")
        good_until, bad_from = ends, ends
        if client.kind == "revoked meanwhile":
            good_until, bad_from = min(ends, revoked[0]), min(ends, revoked[1])
        # During the revocation, either status is right.
        assert seen.status in (200, 403)
        assert seen.status == 200 or seen.ended >= good_until
        assert seen.status == 403 or seen.began < bad_from
        if seen.status == 200 and link:
            assert seen.body == WEIGHTS[client.model]


def expires(link: str) -> int:
    return int(parse_qs(urlsplit(link).query)["expires"][0])


def test_every_response_is_right_for_its_key_and_time(tmp_path: Path) -> None:
    with Running(tmp_path, "--link-seconds", str(LINK_SECONDS)) as service:
        add_weights(service)
        clients = [Client(service, KINDS[number % len(KINDS)]) for number in range(CLIENTS)]
        victims = [client for client in clients if client.kind == "revoked meanwhile"]
        start = threading.Barrier(CLIENTS + 1)
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(client.run, start) for client in clients]
            start.wait()
            began = time.time()
            while not any(client.fetched for client in victims):
                assert not all(each.done() for each in running)
                time.sleep(0.001)
            before = time.time()
            revoke(service, "revoked meanwhile")
            revoked = before, time.time()
            for each in running:
                each.result()
            seconds = time.time() - began
            asked = [seen for client in clients for seen in client.asked]
            fetched = [seen for client in clients for _, seen in client.fetched]
            for victim in victims:
                victim.ask()
                victim.close()
            links = [(client, link) for client in clients for link, _ in client.fetched]
            time.sleep(max(0, max(expires(link) for _, link in links) - time.time()))
            for client in clients:
                for link, _ in list(client.fetched):
                    client.fetch(link)
                client.close()
        for client in clients:
            check(client, revoked)
        assert all(client.asked[-1].status == 403 for client in victims)
        assert len(service.last(10_000)) > len(asked) + len(fetched) + len(links)
        assert service.stderr.read_text() == ""
    total = len(asked) + len(fetched)
    note(
        f"licence service: {CLIENTS} clients, {total} requests in {seconds:.1f} s, {total / seconds:.0f} a second; "
        f"median {_milliseconds(asked)} ms for an answer, {_milliseconds(fetched)} ms for a download; "
        f"{len(links)} links rejected after they expired"
    )


def _milliseconds(seen: list[Exchange]) -> str:
    return f"{1000 * statistics.median(each.ended - each.began for each in seen):.0f}"
