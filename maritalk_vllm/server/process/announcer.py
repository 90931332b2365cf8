"""Announces starts, restarts and replacements of the engine to the user and to the service manager."""

from ...errors import EngineError, MariTalkError
from ...i18n.message import clause, msg
from ..startup.console import Console
from ..startup.launch import Launch
from ..status.sd_notify import SystemdNotifier
from ..status.server_state import ServerState
from ..status.startup_timings import StartupTimings


class Announcer:
    """Prints to the console, and notifies the service manager; probes get the step from `state`."""

    def __init__(self, console: Console, state: ServerState, timings: StartupTimings) -> None:
        self.notifier = SystemdNotifier()
        self._console = console
        self._state = state
        self._timings = timings

    def starting(self, launch: Launch) -> None:
        """Announce the first start, and what was decided for it."""
        self._console.starting(launch.source.name, launch.notes, launch.settings.engine_log)
        self.notifier.status(f"Loading {launch.source.name}")

    def step(self, step: str) -> None:
        """Announce a step of a start."""
        self._state.set_step(step)
        self._console.progress(step)
        self.notifier.status(step)

    def download(self, step: str, fraction: float | None) -> None:
        """Announce the progress of a download."""
        # Without the model's name, which a probe must not show.
        self._state.set_step("Downloading", fraction)
        self._console.progress(step, fraction)

    def listening(self, address: str, port: int, launch: Launch) -> None:
        """Announce that the first engine serves at `address`, and how to use it."""
        self.notifier.ready(f"Listening on {address}")
        self._console.listening(
            address,
            port=port,
            unit=launch.settings.time_unit,
            is_demo=launch.source.is_demo,
            has_keys=launch.access.requires_key,
            ca=launch.settings.ssl_certfile,
        )

    def listening_again(self, address: str) -> None:
        """Announce that the next engine serves at `address`."""
        self.notifier.ready(f"Listening on {address}")
        self._console.listening_again(address)

    def follower_ready(self) -> None:
        """Announce that this follower has loaded its part of the model."""
        self._console.follower_ready()
        self.notifier.ready("This node's part of the model is up.")

    def restarting(self, text: str) -> None:
        """Announce by `text` why and when the engine is started again, and count it."""
        self._announce(text)
        self._timings.reset()

    def replacing(self, *, files_have_changed: bool) -> None:
        """Announce that the engine is replaced by one with other settings, or files."""
        text = msg(
            "{change}: replacing the engine. New requests wait until the next one is ready.",
            change=_change(files_have_changed=files_have_changed),
        )
        self._announce(text)
        self._timings.begin_again()

    def starting_beside(self, *, files_have_changed: bool) -> None:
        """Announce that an engine with other settings, or files, starts beside the one that serves."""
        text = msg(
            "{change}: the next engine starts, and this one serves until it is ready.",
            change=_change(files_have_changed=files_have_changed),
        )
        self._announce(text)

    def staying(self, error: MariTalkError) -> None:
        """Announce that the engine that serves is not replaced, since the other failed with `error`."""
        text = msg("{failed}: the engine with the earlier settings goes on serving.", failed=clause(error.message))
        self._announce(text)

    def returning(self, error: EngineError) -> None:
        """Announce that the engine is started with the earlier settings, since the other failed with `error`."""
        text = msg("{failed}: starting the engine with the earlier settings again.", failed=clause(error.message))
        self._announce(text)
        self._timings.begin_again()

    def stopping(self, drain_timeout: float) -> None:
        """Announce that the server finishes the requests in flight, for at most `drain_timeout` seconds, and exits."""
        self.notifier.stopping("Finishing what runs")
        self._console.stopping(drain_timeout)

    def _announce(self, text: str) -> None:
        self._console.engine_event(text)
        self.notifier.status(text)


def _change(*, files_have_changed: bool) -> str:
    return msg("The model's files have changed") if files_have_changed else msg("The configuration has changed")
