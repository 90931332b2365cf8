"""Metrics over several API processes, by the files that these write."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, values
from starlette.applications import Starlette

from maritalk_vllm.server.status import summed_metrics


def test_a_file_that_a_process_has_just_created_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for process, number in ((1, 3), (2, 4)):
        of_process = values.MultiProcessValue(lambda process=process: process)  # type: ignore[no-untyped-call]
        monkeypatch.setattr("prometheus_client.metrics.values.ValueClass", of_process)
        Counter("lines", "Lines.", registry=CollectorRegistry()).inc(number)
    (tmp_path / "gauge_livemax_3.db").touch()
    (metric,) = summed_metrics.serve_sum(Starlette()).collect()
    assert [sample.value for sample in metric.samples if sample.name == "lines_total"] == [7]
