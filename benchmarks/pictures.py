"""Plots of each kind of result."""

from collections.abc import Sequence
from pathlib import Path

from . import plots
from .compare import Row
from .jobs import Published
from .knee import Arrivals
from .plots import Point
from .start import Start


def rates(file: Path, title: str, table: Sequence[Row]) -> None:
    """Requests a second over users."""
    series: dict[str, list[Point]] = {}
    for row in table:
        point = Point(row.shape.users, row.requests_per_second, row.least, row.greatest)
        series.setdefault(f"{row.target}: {row.wire}", []).append(point)
    plots.lines(file, title, "users at once", "requests/s", series, log=True)


def processor(file: Path, title: str, table: Sequence[Row]) -> None:
    """CPU time of the API process per request, at the largest number of users."""
    most = max(row.shape.users for row in table)
    values = {f"{row.target}: {row.wire}": 1000 * row.cpu_per_request for row in table if row.shape.users == most}
    plots.bars(file, f"{title}, {most} users", "ms of the API process's processor time a request", values)


def knee(file: Path, title: str, arrivals: Sequence[Arrivals]) -> None:
    """95th percentile of latency over the arrival rate."""
    series: dict[str, list[Point]] = {}
    for each in arrivals:
        point = Point(each.rate, each.latency_p95, each.latency_p50, each.latency_p95)
        series.setdefault(f"{each.target}: {each.wire}", []).append(point)
    plots.lines(file, title, "requests/s that come", "latency, seconds: p95, down to p50", series)


def published(file: Path, title: str, lines: Sequence[Published]) -> None:
    """Tokens a second of all users together over the number of users, relative to a single user's."""
    series: dict[str, list[Point]] = {}
    single_user = {line.server: line.system for line in lines if line.concurrency == 1}
    for line in lines:
        gain = line.system / single_user[line.server]
        series.setdefault(line.server, []).append(Point(line.concurrency, gain, gain, gain))
    plots.lines(file, title, "users at once", "system tokens/s, times those of one user", series, log=True)


def start(file: Path, title: str, ours: Start, theirs: Start) -> None:
    """Seconds from exec, and from the engine's death to recovery."""
    values = {
        "ours: to the port": ours.port,
        "ours: to ready": ours.ready,
        "ours: from a dead engine": ours.again or 0.0,
        "vLLM's own: to the port": theirs.port,
        "vLLM's own: to ready": theirs.ready,
    }
    plots.bars(file, title, "seconds", values)
