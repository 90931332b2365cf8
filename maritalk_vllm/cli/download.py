"""`maritalk-vllm download`: downloads a model's weights ahead of the first start."""

import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import setproctitle
import typer

from ..errors import UsageError
from ..i18n.message import msg
from ..i18n.rendering import decimal, localized, say
from ..settings import Settings
from ..text_format import gigabytes
from . import container_home, path_options, standard_streams
from .settings_options import parameter, with_settings

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..models.profile import Profile

_LINE_SECONDS = 10


def download(ctx: typer.Context, settings: Settings, *, path: Path | None) -> None:
    """Download a model. With a licence key, these are its weights; with --model, an open model of Hugging Face.

    An interrupted download resumes when the command is run again. The default folder is where maritalk-serve looks.
    """
    from ..licensing.license_check import LicenseCheck
    from ..server.startup.variant_choice import choose_variant_here
    from ..weights.model_source import entitlement, locate, wanted_profile

    setproctitle.setproctitle("maritalk-vllm download")
    if warning := container_home.mounted_home_warning():
        standard_streams.note(warning)
    variant = choose_variant_here(settings)
    settings = variant.applied(settings)
    if variant.reason:
        print(localized(variant.reason))
    check = LicenseCheck(settings)
    profile = wanted_profile(settings, check)
    place = _place(path, profile)
    source = locate(settings, profile, check, place)
    if (entitled := entitlement(settings, profile, check)) and entitled.warning:
        standard_streams.note(say("Warning: {warning}", warning=entitled.warning))
    if source.must_be_prepared:
        print(say("{name} comes with the installation: there is nothing to download.", name=source.name))
        return
    if source.fetch is None:
        print(say("{name} is here already: {location}", name=source.name, location=source.location))
        return
    with ProgressDisplay() as progress:
        source.fetch.run(progress.show)
    print(
        say("{name} is here: {location}", name=source.name, location=locate(settings, profile, check, place).location)
    )


def _place(path: Path | None, profile: "Profile | None") -> Path | None:
    """The folder for the weights, if the user named one. Raises UsageError if it holds something else."""
    if path is None:
        return None
    if profile is None:
        raise UsageError("A model of Hugging Face goes into its own cache.", "Set HF_HOME instead of --path.")
    path = path.absolute()
    with contextlib.suppress(OSError):  # missing, or not empty
        path.rmdir()
    try:
        holds_other = path.exists() and not (path / "config.json").is_file()
    except OSError as error:
        raise UsageError(
            msg("{target} cannot be read: {reason}.", target=path, reason=error.strerror), "Choose another --path."
        ) from error
    if holds_other:
        raise UsageError(
            msg("{path} already exists and contains no model.", path=path), "Move it away, or choose another --path."
        )
    return path


class ProgressDisplay:
    """Progress of a download: a bar with bytes, rate and time left on a terminal, else a line every 10 s."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._step = ""
        self._last_line = self._step_started = 0.0
        self._first_bytes = 0

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            text = TextColumn("{task.description}")
            self._bar = Progress(text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: str, done: int, total: int | None) -> None:
        """Update the display: `done` of `total` bytes of `step`."""
        now = time.monotonic()
        is_new = step != self._step
        if is_new:
            self._step, self._step_started, self._first_bytes = step, now, done
        if self._bar is not None:
            if is_new:
                for task in self._bar.task_ids:
                    self._bar.remove_task(task)
                self._task = self._bar.add_task(localized(step), completed=done, total=total)
            self._bar.update(self._task, completed=done, total=total)
        elif is_new or now >= self._last_line + _LINE_SECONDS:
            self._last_line = now
            with contextlib.suppress(OSError):  # stdout is closed
                print(self._line(done, total, now), flush=True)

    def _line(self, done: int, total: int | None, now: float) -> str:
        """`Downloading MariTalk Small: 1.2 GB of 14.6 GB, 25.1 MB/s, 9 min left`, in the selected language."""
        step = localized(self._step)
        if not done and total is None:
            return f"{step}..."
        rate = (done - self._first_bytes) / (now - self._step_started) if now > self._step_started else 0.0
        size, size2 = gigabytes(done), gigabytes(total or 0)
        facts = [say("{size} of {size2}", size=size, size2=size2) if total else localized(size)]
        if rate:
            facts.append(f"{decimal(rate / 1e6, 1)} MB/s")
            if total:
                facts.append(say("{number} min left", number=f"{(total - done) / rate / 60:.0f}"))
        return f"{step}: {', '.join(facts)}"


_PATH = Annotated[
    Path | None,
    typer.Option(
        "--path",
        help="Folder to make for them; serve it with --model PATH.",
        metavar="FOLDER",
        show_default="in the cache",
        callback=path_options.checked,
    ),
]

command = with_settings(
    download, parameter("path", _PATH, None), shown=("license", "license_service", "model", "cache_dir", "engine_args")
)
