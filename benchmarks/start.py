"""Time from exec to the first answer, memory at rest, and recovery time after the engine's death."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from .processes import Process, by_title, process_tree_memory, processes
from .subject import Subject
from .targets import VLLM, HTTPTarget, Ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from exec; bytes of all its processes together, at rest after one answer.

    `again`: seconds from the engine's death to the next answer; None for a server that does not restart its engine.
    """

    target: str
    port: float
    ready: float
    answer: float
    rss: int
    pss: int
    anonymous: int
    again: float | None = None
    processes: tuple[Process, ...] = ()


def measure(target_class: type[Ours] | type[VLLM], subject: Subject, folder: Path) -> Start:
    """Start a server, measure it, and stop it."""
    target = target_class(subject, folder)
    try:
        port = _seconds_until(target.connects, target)
        ready = _seconds_until(target.is_ready, target)
        if _status_of_request(target) != httpx.codes.OK:
            raise RuntimeError(f"{target.name} does not answer.")
        answer = time.monotonic() - target.started
        used = process_tree_memory(target.process.pid)
        return Start(
            target=target.name,
            port=port,
            ready=ready,
            answer=answer,
            rss=used.rss,
            pss=used.pss,
            anonymous=used.anonymous,
            processes=tuple(processes(target.process.pid)),
            again=_recovery_seconds(target) if isinstance(target, Ours) else None,
        )
    finally:
        target.stop()


def _seconds_until(condition: Callable[[], bool], target: HTTPTarget) -> float:
    while not condition():
        if target.process.poll() is not None:
            raise RuntimeError(f"{target.name} ended while it started.")
        time.sleep(0.01)
    return time.monotonic() - target.started


def _recovery_seconds(target: HTTPTarget) -> float:
    killed = time.monotonic()
    os.kill(by_title(target.process.pid, "VLLM::EngineCore"), signal.SIGKILL)
    while target.is_ready():
        time.sleep(0.01)
    # Requests are rejected until the supervisor has noticed the death; later ones are held until the engine is back.
    while _status_of_request(target) == httpx.codes.SERVICE_UNAVAILABLE:
        time.sleep(0.05)
    return time.monotonic() - killed


def _status_of_request(target: HTTPTarget) -> int:
    """HTTP status of one short request."""
    body = {"prompt": "1 2 3", "max_tokens": 4, "temperature": 0}
    return httpx.post(f"{target.url}/v1/completions", json=body, timeout=600, trust_env=False).status_code


def ratios(ours: Start, theirs: Start) -> list[tuple[str, float, str]]:
    """Performance targets: name, value, target."""
    assert ours.again is not None
    return [
        ("exec to ready / vLLM's own", ours.ready / theirs.ready, "<= 0.40"),
        ("engine killed to answering again / first start", ours.again / ours.answer, "<= 0.50"),
        ("exec to port, seconds", ours.port, "<= 1"),
        ("memory of all processes at rest (PSS) / vLLM's own", ours.pss / theirs.pss, "<= 0.75"),
    ]
