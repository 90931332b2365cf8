"""What a start prints: the lines that people and their scripts wait for."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...settings import TimeUnit
from ...translation import translated

if TYPE_CHECKING:
    from rich.progress import Progress

BANNER = """\
Start using MariTalk Local API:

        $ pip install maritalk
        $ python
        >>> import maritalk
        >>> client = maritalk.MariTalkLocal({arguments})
        >>> messages = [
                {{"role": "user", "content": "sugira três nomes para a minha cachorra"}},
                {{"role": "assistant", "content": "nina, bela e luna."}},
                {{"role": "user", "content": "e para o meu peixe?"}},
        ]
        >>> client.generate(messages)
        {{'output': 'nani, bento e leo.', {times}}}
"""


EXAMPLE_TIMES = {
    TimeUnit.MILLISECONDS: "'queue_time': 0, 'prompt_time': 185, 'generation_time': 127",
    TimeUnit.SECONDS: "'queue_time': 0.0, 'prompt_time': 0.185, 'generation_time': 0.127",
}

_LINES_A_STEP = 10
_MOST_LINES = 200
"""A download over a bad network would have one for each new try."""


class Console:
    """Prints a start to stdout: a bar on a terminal, plain lines elsewhere, a few KiB in all and nothing after.

    The lines that MariTalk Local prints as well are English in every language: programs look for them.

    A client that starts the server holds its stdout in a pipe that it never reads: a full pipe would stop the server.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        # Clients since 0.2.5 draw a spinner of their own and say so.
        self._animated = sys.stdout.isatty() and not os.environ.get("DISABLE_LOADING")
        self._bar: Progress | None = None
        self._told = ("", 0)
        self._hushed = False
        self._lines = 0

    def starting(self, model: str, notes: Sequence[str], engine_log: Path) -> None:
        """The model, what the user should know about the plan, and where vLLM's log is."""
        self._print(f"Starting MariTalk Local API {model}...")
        for note in notes:
            self._print(translated(note))
        self._print(f"vLLM's log: {engine_log}")

    def progress(self, step: str, fraction: float | None = None) -> None:
        """Something that takes a while: drawn continuously on a terminal, and elsewhere a line for each tenth of it."""
        if self._hushed:
            return
        step = translated(step)
        if self._animated:
            with contextlib.suppress(OSError):
                self._draw(step, fraction)
        elif (now := (step, int((fraction or 0) * _LINES_A_STEP))) != self._told and self._lines < _MOST_LINES:
            self._print(f"{step}..." if fraction is None else f"{step} ({fraction:.0%})...")
            self._told = now
            self._lines += 1

    def loaded(self) -> None:
        """The engine has the model."""
        self._print(f"✓ Loaded in {time.monotonic() - self._began:.0f}s")

    def warming_up(self) -> None:
        """The first request is under way."""
        self._print(f"{_now()} Warming up...")

    def listening(self, url: str, *, arguments: str, unit: TimeUnit) -> None:
        """Ready: how to use it, and last the line that scripts wait for."""
        self._print(BANNER.format(arguments=arguments, times=EXAMPLE_TIMES[unit]))
        self._print(f"{_now()} Listening on {url}")

    def listening_again(self, url: str) -> None:
        """Ready once more."""
        self._tell(f"Listening on {url}")

    def follower_ready(self) -> None:
        """This node has its part of the model; node 0 answers."""
        self._tell("This node's part of the model is up.")

    def died(self, text: str) -> None:
        """The engine has ended, and what comes now."""
        self._tell(translated(text))
        self._began = time.monotonic()

    def _tell(self, text: str) -> None:
        if self._lines < _MOST_LINES:
            self._lines += 1
            self._print(f"{_now()} {text}")

    def hush(self) -> None:
        """Somebody else has the terminal from now on, who tells what people should know."""
        self._hushed = True

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            with contextlib.suppress(OSError):  # the terminal was closed
                self._bar.stop()
            self._bar = None

    def _draw(self, step: str, fraction: float | None) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, transient=True)
            self._task = self._bar.add_task(step)
            self._bar.start()
        # Without a total the bar only shows that something is at work.
        total = None if fraction is None else 1.0
        self._bar.update(self._task, description=step, completed=fraction or 0.0, total=total)

    def _print(self, text: str) -> None:
        self.stop()
        if self._hushed:
            return
        with contextlib.suppress(OSError):  # nobody reads any more: serve on
            print(text, flush=True)


def _now() -> str:
    return f"[{datetime.now(UTC):%Y-%m-%d %H:%M:%S %z}]"
