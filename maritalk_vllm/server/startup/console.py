"""Console output of a start, including the lines that scripts wait for."""

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...i18n.message import Message, Number, msg
from ...i18n.rendering import localized, say
from ...settings import Settings, TimeUnit

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

DEMO_BANNER = """\
Start using MariTalk Local API:

        $ pip install maritalk
        $ python
        >>> import maritalk
        >>> client = maritalk.MariTalkLocal({arguments})
        >>> client.generate("What is the capital of Japan?", do_sample=False)
        {{'output': 'The capital of Japan is Tokyo.', {times}}}
"""
"""The same with a question that the demo model answers like this."""

CURL_BANNER = """\
Start using MariTalk Local API:

        $ {command}
        {{"output": "{answer}", {times}}}
"""
"""With API keys or TLS, which MariTalkLocal cannot use."""

EXAMPLES = {
    False: ("sugira um nome para o meu peixe", "leo"),
    True: ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
}
"""Prompt and answer of that banner; True: for the demo model."""

EXAMPLE_TIMES = {
    TimeUnit.MILLISECONDS: "'queue_time': 0, 'prompt_time': 185, 'generation_time': 127",
    TimeUnit.SECONDS: "'queue_time': 0.0, 'prompt_time': 0.185, 'generation_time': 0.127",
}

_TIME_AFTER_SECONDS = 5
"""The time of a step is shown when it has taken this long."""

_LINES_PER_STEP = 10
_MAX_LINES = 200
"""Limit for progress lines: a download over a bad network would print one for each retry."""


class _StepTime:
    """Formats as the seconds since a step began, or as nothing while they are few: the bar formats it at each refresh.

    `step` is a template, so that `Loading weights 2/3` is the same step as `Loading weights 1/3`.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self._began = time.monotonic()

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{seconds:.0f} s" if seconds >= _TIME_AFTER_SECONDS else ""


class Console:
    """Prints the progress of a start to stdout: a progress bar on a terminal, plain lines elsewhere.

    The lines that MariTalk Local also prints (Starting, Loaded, Warming up, Start using, Listening) are always in
    English: programs may look for them.

    The output is limited to a few KiB. A client that starts the server may connect its stdout to a pipe that it never
    reads, and a full pipe would block the server.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        # Clients since 0.2.5 set DISABLE_LOADING, since they draw a spinner themselves.
        self._animated = sys.stdout.isatty() and not os.environ.get("DISABLE_LOADING")
        self._bar: Progress | None = None
        self._step_time = _StepTime("")
        self._last_progress = ("", 0)
        self._is_silent = False
        self._lines = 0

    def starting(self, model: str, notes: Sequence[str], engine_log: Path) -> None:
        """Print the model, the notes about the plan, and the path of vLLM's log."""
        self._print(f"Starting MariTalk Local API {model}...")
        for note in notes:
            self._print(localized(note))
        self._print(say("vLLM's log: {file}", file=engine_log))

    def progress(self, step: str, fraction: float | None = None) -> None:
        """Show the progress of a step: continuously and with its time on a terminal, elsewhere a line for each tenth.

        `fraction`: from 0 to 1, or None if unknown.
        """
        if self._is_silent:
            return
        if self._animated:
            with contextlib.suppress(OSError):  # the terminal was closed: keep serving
                self._draw(step, fraction)
            return
        step = localized(step)
        if (
            progress := (step, int((fraction or 0) * _LINES_PER_STEP))
        ) != self._last_progress and self._lines < _MAX_LINES:
            self._print(f"{step}..." if fraction is None else f"{step} ({fraction:.0%})...")
            self._last_progress = progress
            self._lines += 1

    def loaded(self) -> None:
        """Print that the engine has loaded the model."""
        self._print(f"✓ Loaded in {time.monotonic() - self._began:.0f}s")

    def warming_up(self) -> None:
        """Print that the warm-up request is running."""
        self._print(f"{_now()} Warming up...")
        if self._animated:
            self.progress("Warming up")

    def listening(
        self,
        url: str,
        *,
        port: int,
        unit: TimeUnit,
        is_demo: bool = False,
        has_keys: bool = False,
        ca: Path | None = None,
    ) -> None:
        """Print how to use the server, and as the last line the one that scripts wait for.

        `ca`: the certificate with which the server speaks HTTPS, None for HTTP.
        """
        times = EXAMPLE_TIMES[unit]
        if has_keys or ca is not None:
            prompt, answer = EXAMPLES[is_demo]
            command = _curl(port, prompt, has_keys=has_keys, ca=ca)
            self._print(CURL_BANNER.format(command=command, answer=answer, times=times.replace("'", '"')))
        else:
            arguments = "" if port == Settings().port else f"port={port}"
            self._print((DEMO_BANNER if is_demo else BANNER).format(arguments=arguments, times=times))
        self._print(f"{_now()} Listening on {url}")

    def listening_again(self, url: str) -> None:
        """Print that the server is ready after a restart."""
        self._print_event(f"Listening on {url}")

    def follower_ready(self) -> None:
        """Print that this follower has loaded its part of the model."""
        self._print_event("This node's part of the model is up.")

    def engine_event(self, text: str) -> None:
        """Print what has happened to the engine, such as its death, and what follows: another start may begin."""
        self._print_event(localized(text))
        self._began = time.monotonic()
        self._step_time = _StepTime("")

    def stopping(self, seconds: float) -> None:
        """Print that the server stops, and how long it waits for requests."""
        text = msg("Stopping: requests in flight have up to {seconds} s.", seconds=Number(seconds, "g"))
        self._print(f"{_now()} {localized(text)}")

    def stopped(self) -> None:
        """Print, as the last line, that the server has stopped on request."""
        self._print(f"{_now()} {localized('Server stopped.')}")

    def _print_event(self, text: str) -> None:
        if self._lines < _MAX_LINES:
            self._lines += 1
            self._print(f"{_now()} {text}")

    def silence(self) -> None:
        """Print nothing more: another program uses the terminal from now on."""
        self._is_silent = True

    def stop(self) -> None:
        """Remove the progress bar from the terminal."""
        if self._bar is not None:
            with contextlib.suppress(OSError):  # the terminal was closed
                self._bar.stop()
            self._bar = None

    def _draw(self, step: str, fraction: float | None) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        template = step.template if isinstance(step, Message) else step
        if template != self._step_time.step:
            self._step_time = _StepTime(template)
        if self._bar is None:
            time_column = TextColumn("{task.fields[step_time]}", style="progress.elapsed")
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), time_column)
            self._bar = Progress(*columns, transient=True)
            self._bar.add_task(localized(step), total=None, step_time=self._step_time)
            self._bar.start()
        (task,) = self._bar.tasks
        # Without a total the bar moves from side to side. rich's update() takes None for an unchanged total.
        task.total = None if fraction is None else 1.0
        self._bar.update(
            task.id,
            description=localized(step),
            completed=fraction or 0.0,
            step_time=self._step_time,
            refresh=True,
        )

    def _print(self, text: str) -> None:
        self.stop()
        if self._is_silent:
            return
        with contextlib.suppress(OSError):  # the reader has closed the pipe: keep serving
            print(text, flush=True)


def _curl(port: int, prompt: str, *, has_keys: bool, ca: Path | None) -> str:
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "do_sample": False}, ensure_ascii=False)
    parts = [
        *(("--cacert", shlex.quote(str(ca))) if ca is not None else ()),
        *(("-H", '"Authorization: Bearer $MARITALK_API_KEY"') if has_keys else ()),
        f"{'http' if ca is None else 'https'}://localhost:{port}/chat/generate",
        *("-d", f"'{body}'"),
    ]
    return " ".join(["curl", *parts])


def _now() -> str:
    return f"[{datetime.now(UTC):%Y-%m-%d %H:%M:%S %z}]"
