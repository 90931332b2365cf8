"""docs/observability.md lists the metrics that exist, and its configuration is valid."""

import re
import time
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from maritalk_vllm.batches.batch_metrics import BatchMetrics
from maritalk_vllm.server.middleware.request_metrics import _REASONS, RequestMetrics
from maritalk_vllm.server.middleware.route_labels import RouteLabels
from maritalk_vllm.server.status import server_metrics
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.server.status.startup_timings import StartupTimings
from tests.observability.queries import ROOT, RULES, promtool

pytestmark = pytest.mark.deploy

PAGE = (ROOT / "docs" / "observability.md").read_text()


def test_the_page_lists_exactly_the_existing_metrics() -> None:
    registry, state = CollectorRegistry(), ServerState()
    server_metrics.register(state, StartupTimings(time.time() + 1), registry)
    RequestMetrics(registry, RouteLabels(()), state)
    BatchMetrics(registry)
    there = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    rows = re.findall(r"^\| `(maritalk_\w+)", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(there)


def test_the_page_lists_each_reason() -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `maritalk_refused_total"))
    assert set(re.findall(r"`(\w+)`", row)) == set(_REASONS)


def test_the_pages_prometheus_configuration_is_valid(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "prometheus.yaml"
    file.write_text(block)
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", file)


def test_the_section_of_each_alert_begins_with_its_severity() -> None:
    sections = re.findall(r"^### (MariTalk\w+)\n\n(\w+)\. ", PAGE, re.MULTILINE)
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert sorted(sections) == sorted((rule["alert"], rule["labels"]["severity"].capitalize()) for rule in rules)
