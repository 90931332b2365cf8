"""Extraction of metric names from queries, on which other tests rely."""

import pytest

from tests.observability.queries import metric_names

pytestmark = pytest.mark.deploy


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('up{job="a"} == 0', {"up"}),
        ("a < 14 and a >= 3.5", {"a"}),
        ("vllm:x > 10 and deriv(vllm:y[10m]) > 0", {"vllm:x", "vllm:y"}),
        ('sum by (job, le) (rate(a_total{b=~"5..|c{d}"}[5m])) / sum(e) without (f)', {"a_total", "e"}),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
        ("time() - a", {"a"}),
        ("a > 1 and on (job, instance) b or absent(c)", {"a", "b", "c"}),
    ],
)
def test_metric_names_are_extracted_from_a_query(query: str, names: set[str]) -> None:
    assert metric_names(query) == names
