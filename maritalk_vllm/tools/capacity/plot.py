"""Plot of a day: requests and latency by hour."""

from pathlib import Path

from ... import extras
from ...errors import UsageError
from ...i18n.message import msg
from ...i18n.rendering import localized
from .capacity_report import user_count
from .capacity_study import Study


def check(file: Path) -> None:
    """Check that the plot can be written, before the study runs. Raises UsageError."""
    extras.require("matplotlib", "--plot")
    if not file.parent.is_dir():
        raise UsageError(
            msg("The picture {file} cannot be written: there is no folder {folder}.", file=file, folder=file.parent)
        )


def draw(study: Study, file: Path) -> None:
    """Plot requests a second above and latency in seconds below. Raises UsageError."""
    # Agg needs no display; pyplot would keep a reference to each figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    hours = study.day.hours
    at = [hour.hour + 0.5 for hour in hours]
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, sharex=True)
    workload = study.inputs.workload
    title = msg(
        "{title}: {users}, {cards} x {name}",
        title=study.inputs.requirements.title,
        users=user_count(study),
        cards=study.gpus,
        name=study.replica.name,
    )
    above.set_title(localized(title))
    above.bar(at, [hour.requests / 3600 for hour in hours], width=0.9, color="tab:gray")
    above.set_ylabel(localized("requests/s"))
    for name, values, style in (
        ("95%", [hour.p95 for hour in hours], "o-"),
        (localized("middle"), [hour.p50 for hour in hours], "o--"),
    ):
        below.plot(at, [float("nan") if value is None else value for value in values], style, label=name)
    below.axhline(workload.latency_p95, color="tab:red", label=localized("asked for"))
    below.set_ylabel(localized("answer after, s"))
    below.set_xlabel(localized("hour of the day"))
    below.set_xlim(0, 24)
    below.set_xticks(range(0, 25, 3))
    below.set_ylim(bottom=0)
    below.legend()
    for axes in (above, below):
        axes.grid(alpha=0.3)
    try:
        figure.savefig(file, dpi=100)
    except (OSError, ValueError) as error:
        raise UsageError(msg("The picture {file} cannot be written: {reason}.", file=file, reason=error)) from error
