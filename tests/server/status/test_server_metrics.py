"""What the server tells of itself, whoever answers: its state, its start, restarts, its licence's end, its memory."""

import time
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from maritalk_vllm.server.status import server_metrics, startup_timings
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.server.status.startup_timings import StartupStep, StartupTimings
from tests.counting import samples


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A process that was started at 1000 s, 2 s ago."""
    clock = SimpleNamespace(now=1002.0)
    monkeypatch.setattr(
        startup_timings, "time", SimpleNamespace(time=lambda: clock.now, monotonic=lambda: clock.now - 500)
    )
    process = SimpleNamespace(create_time=lambda: 1000.0)
    monkeypatch.setattr(startup_timings, "psutil", SimpleNamespace(Process=lambda: process))
    return clock


def told(state: ServerState, of: StartupTimings) -> str:
    registry = CollectorRegistry()
    server_metrics.register(state, of, registry)
    return bytes(server_metrics.response(registry).body).decode()


def phases(text: str) -> dict[str, float]:
    """As Prometheus reads it."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    family = families["maritalk_server_state"]
    assert family.documentation == "Current server phase: 1 for the active one."
    return {sample.labels["maritalk_server_state"]: sample.value for sample in family.samples}


@pytest.mark.parametrize("phase", Phase)
def test_the_state_beside_the_metrics_of_others(phase: Phase) -> None:
    registry = CollectorRegistry(auto_describe=True)
    Gauge("vllm_of_its_own", "x", registry=registry).set(3)
    now = ServerState()
    server_metrics.register(now, StartupTimings(), registry)
    # Not as it was when it was first told.
    server_metrics.response(registry)
    now.transition_to(phase)
    answer = server_metrics.response(registry)
    # The content type of Prometheus's text format: without it, servers since 3.0 refuse what they get.
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = bytes(answer.body).decode()
    assert phases(text) == {each: float(each is phase) for each in Phase}
    assert "vllm_of_its_own 3.0" in text


def test_how_long_each_phase_of_a_start_took_across_processes(clock: SimpleNamespace) -> None:
    supervisors = StartupTimings()
    for step, seconds in ((StartupStep.PORT, 0), (StartupStep.IMPORTING, 7)):
        clock.now += seconds
        supervisors.mark_done(step)
    # What another process is told goes on there, by the same clock.
    copy = StartupTimings.from_message(supervisors.to_message())
    for step, seconds in ((StartupStep.LOADING, 3), (StartupStep.WARMING_UP, 1), (StartupStep.READY, 0)):
        clock.now += seconds
        copy.mark_done(step)
    assert copy.seconds == {"port": 2, "importing": 7, "loading": 3, "warming_up": 1, "ready": 13}
    assert supervisors.seconds == {"port": 2, "importing": 7}
    found = samples(told(ServerState(), copy))
    assert {labels[0][1]: value for (name, labels), value in found.items() if name == "maritalk_start_seconds"} == (
        copy.seconds
    )
    assert found["maritalk_server_start_time_seconds", ()] == 1000


def test_a_restart_is_counted_and_has_phases_of_its_own(clock: SimpleNamespace) -> None:
    now = StartupTimings()
    now.mark_done(StartupStep.READY)
    assert samples(told(ServerState(), now))["maritalk_engine_restarts_total", ()] == 0
    clock.now += 60
    now.reset()
    assert now.seconds == {}
    clock.now += 4
    now.mark_done(StartupStep.LOADING)
    now.mark_done(StartupStep.READY)
    assert now.seconds == {"loading": 4, "ready": 4}
    assert samples(told(ServerState(), now))["maritalk_engine_restarts_total", ()] == 1
    assert samples(told(ServerState(), now))["maritalk_server_start_time_seconds", ()] == 1000


@pytest.mark.parametrize(("seconds", "days"), [(86_400 * 14, 14), (3600 * 6, 0.25), (-5000, 0)])
def test_the_days_that_a_licence_has_left(seconds: float, days: float) -> None:
    found = samples(told(ServerState(), StartupTimings(time.time() + seconds)))
    assert found["maritalk_license_days_left", ()] == pytest.approx(days, abs=0.001)


def test_a_licence_without_an_end_has_no_days() -> None:
    assert "maritalk_license_days_left" not in told(ServerState(), StartupTimings())


def test_the_memory_of_the_server_s_processes() -> None:
    found = samples(told(ServerState(), StartupTimings()))
    name = "maritalk_process_resident_memory_bytes"
    assert sum(size for (each, _), size in found.items() if each == name) > 5_000_000


def test_a_file_that_cannot_be_used_is_seen() -> None:
    now = ServerState(Phase.READY)
    now.files = {"api_keys": "The file cannot be read.", "certificate": ""}
    every = samples(told(now, StartupTimings()))
    assert every["maritalk_file_usable", (("file", "api_keys"),)] == 0
    assert every["maritalk_file_usable", (("file", "certificate"),)] == 1
