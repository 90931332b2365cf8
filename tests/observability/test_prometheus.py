"""A real Prometheus scrapes the real server: each panel has data, and each alert evaluates."""

import json
import math
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.counting import samples
from tests.observability.queries import RULES, alerts, metric_names, panel_queries
from tests.serving import Server, free_port

pytestmark = pytest.mark.deploy

# The evaluation licence does not expire. tests/server/status/test_server_metrics.py has one that does.
NOT_HERE = {"maritalk_license_days_left"}
OF_PROMETHEUS = {"up"}
DEADLINE_SECONDS = 40
SCRAPE_SECONDS = 0.5


def ask_all(server: Server) -> None:
    """Send a request of each kind that the panels distinguish."""
    prompt = {"prompt": "Olá", "max_tokens": 3}
    assert server.ask("/generate", prompt).status == 200
    assert server.ask("/v1/completions", {**prompt, "model": "demo", "stream": True}).status == 200
    assert server.ask("/generate", {"max_tokens": 0}).status == 400
    assert server.ask("/nothing").status == 404


@pytest.fixture
def asked_server(shared_server: Server) -> Server:
    ask_all(shared_server)
    return shared_server


def test_every_metric_of_panels_and_rules_exists(asked_server: Server) -> None:
    exported = {name for name, _ in samples(asked_server.ask("/metrics").body.decode())}
    queries = [*(query for _, query in panel_queries()), *(rule["expr"] for rule in alerts().values())]
    asked = set().union(*map(metric_names, queries))
    assert len(asked) > 15
    assert asked - exported == NOT_HERE | OF_PROMETHEUS


def test_the_server_reports_its_state_memory_and_start(asked_server: Server) -> None:
    found = samples(asked_server.ask("/metrics").body.decode())

    def by(name: str, label: str) -> dict[str, float]:
        return {dict(labels)[label]: value for (each, labels), value in found.items() if each == name}

    phases = by("maritalk_start_seconds", "phase")
    whole = phases.pop("ready")
    assert {"port", "importing", "loading", "warming_up"} == set(phases)
    assert all(seconds > 0 for seconds in phases.values())
    assert sum(phases.values()) == pytest.approx(whole, abs=0.1)
    assert found["maritalk_engine_restarts_total", ()] == 0
    assert found["maritalk_server_start_time_seconds", ()] == pytest.approx(
        time.time() - (time.monotonic() - asked_server.began), abs=2
    )
    memory = by("maritalk_process_resident_memory_bytes", "process")
    assert set(memory) - {"other"} == {"supervisor", "nursery", "api", "engine"}
    # The engine holds the weights; the supervisor does not import torch.
    assert memory["engine"] > 300e6 > memory["supervisor"] > 10e6
    routes = set(by("maritalk_requests_total", "route"))
    assert {"/generate", "/v1/completions", "other"} <= routes
    assert by("maritalk_tokens_total", "kind").keys() == {"prompt", "answer"}
    assert by("maritalk_refused_total", "reason")["bad_request"] >= 2


@dataclass
class Prometheus:
    url: str

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def numbers(self, query: str) -> list[float]:
        """The current values of a query, without NaN, which a panel does not show."""
        result = self.ask("/api/v1/query", query=query)["result"]
        return [number for each in result if math.isfinite(number := float(each["value"][1]))]


@pytest.fixture
def prometheus(shared_server: Server, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus of Debian's package, configured as in docs/observability.md; scrapes the server twice a second."""
    target = {"job_name": "maritalk", "static_configs": [{"targets": [f"127.0.0.1:{shared_server.port}"]}]}
    every = {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "evaluation_interval": "1s"}
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": every, "rule_files": [str(RULES)], "scrape_configs": [target]}))
    address = f"127.0.0.1:{free_port()}"
    command = [
        *("prometheus", f"--config.file={config}", f"--web.listen-address={address}"),
        f"--storage.tsdb.path={tmp_path / 'data'}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait()


def rule_states(prometheus: Prometheus) -> dict[str, tuple[str, str]]:
    """Health and state of each alert."""
    (group,) = prometheus.ask("/api/v1/rules")["groups"]
    return {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}


def test_every_panel_has_data_and_no_alert_fires(shared_server: Server, prometheus: Prometheus) -> None:
    assert {title for title, query in panel_queries() if metric_names(query) <= NOT_HERE} == {"Licence"}
    waiting = [(title, query) for title, query in panel_queries() if title != "Licence"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while waiting:
        assert time.monotonic() < deadline, f"nothing to show: {waiting}"
        # A rate needs two scrapes with a request in between.
        ask_all(shared_server)
        time.sleep(SCRAPE_SECONDS)
        try:
            waiting = [(title, query) for title, query in waiting if not prometheus.numbers(query)]
        except OSError:  # not listening yet
            continue
    # Evaluated before the first scrape, MariTalkDown is pending until the next evaluation.
    while (states := rule_states(prometheus)) != dict.fromkeys(alerts(), ("ok", "inactive")):
        assert time.monotonic() < deadline, states
        time.sleep(SCRAPE_SECONDS)
