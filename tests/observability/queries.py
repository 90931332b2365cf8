"""The dashboard and the alert rules as they are given out, and what they ask Prometheus for."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "deploy" / "grafana" / "maritalk-vllm.json"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"

_STRING = re.compile(r'"[^"]*"')
_LABELS_OR_RANGE = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")
_GROUPING = re.compile(r"\b(by|without)\s*\([^()]*\)")
_METRIC = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "by", "without"}


def panels() -> list[dict[str, Any]]:
    """All but the rows between them."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panel_queries() -> Iterator[tuple[str, str]]:
    """A panel's title, and each of its queries as Grafana sends them when all is chosen."""
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            assert "$" not in query, query
            yield panel["title"], query


def metric_names(query: str) -> set[str]:
    """The series that a query reads."""
    bare = _GROUPING.sub(" ", _LABELS_OR_RANGE.sub(" ", _STRING.sub("", query)))
    return {name for name in _METRIC.findall(bare) if name not in _WORDS}


def promtool(*arguments: str | Path) -> str:
    """What it says to a task that it has not failed in. Of Debian's package `prometheus`: scripts/debian prometheus."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
