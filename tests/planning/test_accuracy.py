"""The memory plan beside logged starts of vLLM, whose table is in benchmarks/results."""

import statistics
from pathlib import Path

from benchmarks.plan_accuracy import accuracies, summary, table

ROWS = accuracies()


def test_the_kv_cache_is_planned_within_the_targets() -> None:
    errors = sorted(abs(row.error) for row in ROWS)
    assert statistics.median(errors) <= 1.5
    assert sum(error <= 4 for error in errors) >= 0.9 * len(errors)


def test_no_start_is_promised_more_than_it_has() -> None:
    """Except for a tenth of a GiB, by which starts of the same model differ."""
    assert {row.start.model: row.excess for row in ROWS if row.excess > 0.1} == {}


def test_dense_weights_are_planned_as_they_were_logged() -> None:
    own = [row for row in ROWS if not row.start.weights_from_log]
    assert len(own) > len(ROWS) / 2
    for row in own:
        assert abs(row.weights / row.start.weights_gib_logged - 1) < 0.01, row.start


def test_the_results_are_those_of_today() -> None:
    """The table and its summary, which the page on planning quotes."""
    root = Path(__file__).parents[2]
    results = (root / "benchmarks" / "results" / "plan-accuracy.md").read_text()
    assert "\n".join([*table(ROWS), "", summary(ROWS)]) in results
    assert summary(ROWS) in " ".join((root / "docs" / "planning.md").read_text().split())


def test_each_start_names_its_source() -> None:
    assert all(row.start.source for row in ROWS)
