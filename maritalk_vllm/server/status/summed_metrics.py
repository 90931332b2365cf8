"""Metrics over several API processes: each writes its values to files, and each answers with the sum.

This is prometheus_client's multiprocess mode, which vLLM's own server uses as well. The files of a process that has
ended remain, so that no counter decreases.
"""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, make_asgi_app, multiprocess
from starlette.applications import Starlette
from starlette.routing import Mount

from . import server_metrics


class _Sum(multiprocess.MultiProcessCollector):
    """The sum over the files that have content: one that a process has just created is empty for a moment."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """Return the metrics. Files of gauges may vanish meanwhile (`forget_gauges`)."""
        files = [str(each) for each in Path(self._path).glob("*.db") if _has_content(each)]
        summed: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return summed


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def metrics_folder(temporary_folder: Path) -> Path:
    """The folder of the files, in the server's temporary folder."""
    return temporary_folder / "metrics"


def serve_sum(app: Starlette) -> CollectorRegistry:
    """Answer GET /metrics of an application with the sum; return its registry, for what is the same in all processes.

    prometheus_client was imported with PROMETHEUS_MULTIPROC_DIR set (engine_environment).
    """
    registry = CollectorRegistry()
    _Sum(registry)
    route = Mount(server_metrics.PATH, make_asgi_app(registry=registry))
    route.path_regex = re.compile(f"^{server_metrics.PATH}(?P<path>.*)$")  # as in vLLM: no redirect
    app.router.routes.insert(0, route)  # before vLLM's own, which shows this process alone
    return registry


def forget_gauges(temporary_folder: Path, pid: int) -> None:
    """Remove the gauges of a process that has ended, where they count processes that live alone."""
    with contextlib.suppress(OSError):
        multiprocess.mark_process_dead(pid, str(metrics_folder(temporary_folder)))  # type: ignore[no-untyped-call]
