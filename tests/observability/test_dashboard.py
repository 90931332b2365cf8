"""The dashboard's JSON: its data source, panels and layout; Prometheus parses its queries."""

import json
from pathlib import Path

import pytest
import yaml

from tests.observability.queries import DASHBOARD, panel_queries, panels, promtool

pytestmark = pytest.mark.deploy

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_panels_use_the_selected_data_source() -> None:
    board = json.loads(DASHBOARD.read_text())
    source, *others = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert {each["name"] for each in others} == {"job", "instance"}
    # An `id` is specific to one Grafana: in another it belongs to another dashboard.
    assert board["uid"] == "maritalk-vllm"
    assert "id" not in board
    for asking in (*others, *panels(), *(target for panel in panels() for target in panel["targets"])):
        assert asking["datasource"] == SOURCE


def test_panels_have_titles_descriptions_and_units() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        assert panel["description"].endswith(".")
        assert "unit" in panel["fieldConfig"]["defaults"] or panel["type"] == "state-timeline"
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) >= 1


def test_panels_do_not_overlap() -> None:
    every = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_parses_each_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, (_, query) in enumerate(panel_queries())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
