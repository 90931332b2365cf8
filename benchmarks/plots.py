"""Line and bar plots."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Point:
    """A median, with the minimum and maximum of its rounds."""

    x: float
    y: float
    least: float
    greatest: float


def lines(file: Path, title: str, x: str, y: str, series: Mapping[str, Sequence[Point]], *, log: bool = False) -> None:
    """Plot one line for each name, with error bars."""
    with _figure(file, title) as axes:
        for name, points in series.items():
            medians = [point.y for point in points]
            errors = [[point.y - point.least for point in points], [point.greatest - point.y for point in points]]
            axes.errorbar([point.x for point in points], medians, yerr=errors, marker="o", capsize=3, label=name)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if log:
            ticks = sorted({point.x for points in series.values() for point in points})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_ylim(bottom=0)
        axes.legend()


def bars(file: Path, title: str, x: str, values: Mapping[str, float]) -> None:
    """Plot one bar for each name, the first on top."""
    with _figure(file, title) as axes:
        drawn = axes.barh(list(values), list(values.values()))
        axes.bar_label(drawn, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.set_xlabel(x)
        axes.margins(x=0.15)


@contextmanager
def _figure(file: Path, title: str) -> Iterator["Axes"]:
    # Agg needs no display; pyplot would keep a reference to each figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    yield axes
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
