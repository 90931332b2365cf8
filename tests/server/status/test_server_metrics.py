"""Metrics of the server itself: state, startup timings, restarts, licence expiry, memory and files."""

import asyncio
import time
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from maritalk_vllm.server.status import server_metrics, startup_timings
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.server.status.startup_timings import StartupStep, StartupTimings
from tests.counting import samples


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A fake clock: the process was started at 1000 s, 2 s ago."""
    clock = SimpleNamespace(now=1002.0)
    monkeypatch.setattr(
        startup_timings, "time", SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now - 500)
    )
    process = SimpleNamespace(create_time=lambda: 1000.0)
    monkeypatch.setattr(startup_timings, "psutil", SimpleNamespace(Process=lambda: process))
    return clock


def exposition(state: ServerState, timings: StartupTimings) -> str:
    registry = CollectorRegistry()
    server_metrics.register(state, timings, registry)
    return bytes(asyncio.run(server_metrics.response(registry)).body).decode()


def phases(text: str) -> dict[str, float]:
    """Return the values of the state metric, parsed as Prometheus does."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    family = families["maritalk_server_state"]
    assert family.documentation == "Current server phase: 1 for the active one."
    return {sample.labels["maritalk_server_state"]: sample.value for sample in family.samples}


@pytest.mark.parametrize("phase", Phase)
def test_state_is_exposed_beside_other_metrics(phase: Phase) -> None:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("vllm_metric", "x", registry=registry).set(3)
    state = ServerState()
    server_metrics.register(state, StartupTimings(), registry)
    # The second response must not repeat the state of the first.
    asyncio.run(server_metrics.response(registry))
    state.transition_to(phase)
    response = asyncio.run(server_metrics.response(registry))
    # The content type of Prometheus's text format, without which Prometheus since 3.0 rejects the response.
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = bytes(response.body).decode()
    assert phases(text) == {each: float(each is phase) for each in Phase}
    assert "vllm_metric 3.0" in text


def test_startup_timings_continue_in_another_process(clock: SimpleNamespace) -> None:
    original = StartupTimings()
    for step, seconds in ((StartupStep.PORT, 0), (StartupStep.IMPORTING, 7)):
        clock.now += seconds
        original.mark_done(step)
    # Another process continues the copy, with the same clock.
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(original), type=StartupTimings)
    for step, seconds in ((StartupStep.LOADING, 3), (StartupStep.WARMING_UP, 1), (StartupStep.READY, 0)):
        clock.now += seconds
        copy.mark_done(step)
    assert copy.seconds == {"port": 2, "importing": 7, "loading": 3, "warming_up": 1, "ready": 13}
    assert original.seconds == {"port": 2, "importing": 7}
    found = samples(exposition(ServerState(), copy))
    assert {labels[0][1]: value for (name, labels), value in found.items() if name == "maritalk_start_seconds"} == (
        copy.seconds
    )
    assert found["maritalk_server_start_time_seconds", ()] == 1000


def test_restart_is_counted_and_resets_the_timings(clock: SimpleNamespace) -> None:
    timings = StartupTimings()
    timings.mark_done(StartupStep.READY)
    assert samples(exposition(ServerState(), timings))["maritalk_engine_restarts_total", ()] == 0
    clock.now += 60
    timings.reset()
    assert timings.seconds == {}
    clock.now += 4
    timings.mark_done(StartupStep.LOADING)
    timings.mark_done(StartupStep.READY)
    assert timings.seconds == {"loading": 4, "ready": 4}
    assert samples(exposition(ServerState(), timings))["maritalk_engine_restarts_total", ()] == 1
    assert samples(exposition(ServerState(), timings))["maritalk_server_start_time_seconds", ()] == 1000


@pytest.mark.parametrize(("seconds", "days"), [(86_400 * 14, 14), (3600 * 6, 0.25), (-5000, 0)])
def test_days_left_of_a_licence(seconds: float, days: float) -> None:
    found = samples(exposition(ServerState(), StartupTimings(time.time() + seconds)))
    assert found["maritalk_license_days_left", ()] == pytest.approx(days, abs=0.001)


def test_licence_without_expiry_has_no_days_left_metric() -> None:
    assert "maritalk_license_days_left" not in exposition(ServerState(), StartupTimings())


def test_memory_of_the_server_is_exposed() -> None:
    found = samples(exposition(ServerState(), StartupTimings()))
    name = "maritalk_process_resident_memory_bytes"
    assert sum(size for (each, _), size in found.items() if each == name) > 5_000_000


def test_unusable_file_is_exposed() -> None:
    state = ServerState(Phase.READY)
    state.files = {"api_keys": "The file cannot be read.", "certificate": ""}
    found = samples(exposition(state, StartupTimings()))
    assert found["maritalk_file_usable", (("file", "api_keys"),)] == 0
    assert found["maritalk_file_usable", (("file", "certificate"),)] == 1
