"""Clients that ask again and again, plain and streamed, and note what became of each request."""

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from tests.serving import Port

ENDLESS = {"prompt": "1 2 3", "max_tokens": 6000, "do_sample": False}
"""The demo model counts on, for minutes."""


class Fate(StrEnum):
    """What became of a request, as its client sees it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    ENDED = "ended with an error"
    CUT = "cut off"


@dataclass
class Seen:
    """When a request was sent and when its end came, by the monotonic clock, and how it ended."""

    began: float
    ended: float
    fate: Fate
    status: int = 0
    retry_after: str | None = None


def ask(port: Port, body: dict[str, object], timeout: float = 120) -> Seen:
    """One `/generate`. An answer counts once it is whole; an error counts if it came in the form of the API."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port.port, timeout=timeout)
    try:
        connection.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        content = reply.read()
    except (OSError, http.client.HTTPException):
        return Seen(began, time.monotonic(), Fate.CUT)
    finally:
        connection.close()
    fate = _streamed(content) if reply.status == 200 and body.get("stream") else _plain(reply.status, content)
    return Seen(began, time.monotonic(), fate, reply.status, reply.headers.get("Retry-After"))


def _plain(status: int, content: bytes) -> Fate:
    told = json.loads(content)
    if status == 200:
        assert isinstance(told["output"], str)
        return Fate.ANSWERED
    assert told["error"]
    return Fate.REFUSED


def _streamed(content: bytes) -> Fate:
    """By its last event, of which there must be exactly one."""
    events = content.decode().removesuffix("\n\n").split("\n\n")
    ends = [event for event in events if event.startswith("event: ")]
    if not content.endswith(b"\n\n") or not ends:
        return Fate.CUT
    assert len(ends) == 1
    assert events[-1] == ends[0]
    return Fate.ANSWERED if ends[0].startswith("event: end\n") else Fate.ENDED


class Load:
    """So many clients at once, until they are told to stop."""

    def __init__(self, port: Port, clients: int, tokens: int) -> None:
        self.seen: list[Seen] = []
        self._port = port
        self._tokens = tokens
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            body = {"prompt": f"{number} 1 2 3", "max_tokens": self._tokens, "stream": bool(number % 2)}
            seen = ask(self._port, body)
            self.seen.append(seen)
            if seen.fate is not Fate.ANSWERED:
                time.sleep(0.05)

    def stop(self) -> Counter[Fate]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return Counter(seen.fate for seen in self.seen)
