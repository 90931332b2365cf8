"""Read the published dashboard and alert rules, and their queries."""

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
_GROUPING = re.compile(r"\b(by|without|on|ignoring)\s*\([^()]*\)")
_METRIC = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "by", "without"}


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels without its rows."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panel_queries() -> Iterator[tuple[str, str]]:
    """Title and query of each panel target, with variables replaced as Grafana does for `All`."""
    for panel in panels():
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            assert "$" not in query, query
            yield panel["title"], query


def metric_names(query: str) -> set[str]:
    """The names of the metrics that a query reads."""
    bare = _GROUPING.sub(" ", _LABELS_OR_RANGE.sub(" ", _STRING.sub("", query)))
    return {name for name in _METRIC.findall(bare) if name not in _WORDS}


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which must succeed; return its output. From Debian's package: scripts/debian prometheus."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
