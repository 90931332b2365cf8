"""Load generator: clients that send plain and streamed requests continuously, and record each outcome."""

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from tests.serving import Port

ENDLESS = {"prompt": "1 2 3", "max_tokens": 6000, "do_sample": False}
"""A request that the demo model generates for minutes."""


class Outcome(StrEnum):
    """The outcome of a request for its client."""

    ANSWERED = "answered"
    REJECTED = "rejected"
    ENDED = "ended with an error"
    CUT = "cut off"


@dataclass
class Result:
    """When a request was sent and when it ended, in seconds of the monotonic clock, and its outcome."""

    began: float
    ended: float
    outcome: Outcome
    status: int = 0
    retry_after: str | None = None


def ask(port: Port, body: dict[str, object], timeout: float = 120) -> Result:
    """Send one `/generate`. A response counts once it is complete, an error if it has the form of the API."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port.port, timeout=timeout)
    try:
        connection.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        content = reply.read()
    except (OSError, http.client.HTTPException):
        return Result(began, time.monotonic(), Outcome.CUT)
    finally:
        connection.close()
    outcome = _streamed(content) if reply.status == 200 and body.get("stream") else _plain(reply.status, content)
    return Result(began, time.monotonic(), outcome, reply.status, reply.headers.get("Retry-After"))


def _plain(status: int, content: bytes) -> Outcome:
    answer = json.loads(content)
    if status == 200:
        assert isinstance(answer["output"], str)
        return Outcome.ANSWERED
    assert answer["error"]
    return Outcome.REJECTED


def _streamed(content: bytes) -> Outcome:
    """The outcome by the stream's final event, of which there must be exactly one."""
    events = content.decode().removesuffix("\n\n").split("\n\n")
    ends = [event for event in events if event.startswith("event: ")]
    if not content.endswith(b"\n\n") or not ends:
        return Outcome.CUT
    assert len(ends) == 1
    assert events[-1] == ends[0]
    return Outcome.ANSWERED if ends[0].startswith("event: end\n") else Outcome.ENDED


class Load:
    """Runs `clients` concurrent clients until `stop`. `results` grows meanwhile."""

    def __init__(self, port: Port, clients: int, tokens: int) -> None:
        self.results: list[Result] = []
        self._port = port
        self._tokens = tokens
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        while not self._stop.is_set():
            body = {"prompt": f"{number} 1 2 3", "max_tokens": self._tokens, "stream": bool(number % 2)}
            result = ask(self._port, body)
            self.results.append(result)
            if result.outcome is not Outcome.ANSWERED:
                time.sleep(0.05)

    def stop(self) -> Counter[Outcome]:
        """Stop the clients after their current requests; count the outcomes of all requests."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return Counter(result.outcome for result in self.results)
