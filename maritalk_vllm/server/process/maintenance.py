"""What the supervisor looks at while it serves: files that may change, the log, its folder and the model's files."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ..startup.launch import Launch
from ..startup.temporary_folder import TemporaryFolder
from ..status.server_state import Phase, ServerState
from .async_tasks import in_background
from .config_reload import LOOK_SECONDS, ConfigReload
from .download_process import download
from .log_file import LogFile
from .model_files import ModelFiles

T = TypeVar("T")

_LOG_LOST = "The log cannot be written: its lines are lost."
_NO_FOLDER = "The temporary folder is gone and cannot be made again: the next engine gets another one."
_NO_MODEL = "The model's files are not as they were loaded: the next start of the engine needs them again."
_MODEL_LOOK_SECONDS = 2.0
_MODEL_SECONDS = 5.0
"""How long a start waits for a look at the model's files, whose disk may be slow or hang."""

_log = logging.getLogger(__name__)


class Maintenance:
    """Keeps a launch as its files are now, and passes each change on."""

    def __init__(
        self, reload: ConfigReload, log: LogFile, state: ServerState, takers: Sequence[Callable[[Launch], None]]
    ) -> None:
        """`takers` are called with each new launch. Raises UsageError where no temporary folder can be made."""
        self._reload = reload
        self._log = log
        self._state = state
        self._takers = takers
        self.folder = TemporaryFolder()
        self._model = ModelFiles()
        self._is_due = False
        self._failures: dict[str, str] = {}

    @property
    def launch(self) -> Launch:
        """The start as it was decided, with what was read anew since."""
        return self._reload.launch

    async def look(self) -> None:
        """Look until cancelled. A look at a model on a disk that hangs keeps no other look waiting."""
        await asyncio.gather(
            self._repeat(LOOK_SECONDS, self._look_at_files), self._repeat(_MODEL_LOOK_SECONDS, self._look_at_model)
        )

    def reload(self) -> None:
        """Read everything again at once, and open the log anew, as SIGHUP asks."""
        self._log.reopen()
        self._reload.reload()
        self.take_over()

    def take_over(self) -> None:
        """Pass the launch on to each taker, also where another has failed; what has failed is tried again."""
        launch = self.launch
        self._state.files = dict(self._reload.problems)
        self._log.limit(launch.settings.log_max_mb * 1_000_000, launch.settings.log_backups)
        self._is_due = False
        for number, take in enumerate(self._takers):
            error = _error_of(take, launch)
            self._note(str(number), error)
            self._is_due = self._is_due or error is not None

    async def make_good(self, leave_folder: Callable[[], None], show: Callable[[str, float | None], None]) -> None:
        """Before a start: a folder for its sockets, and the model's files as they were loaded. Raises MariTalkError."""
        if self.folder.problem():
            leave_folder()
            self.folder.move()
        if await _within(_MODEL_SECONDS, self._model.differ):
            if self.launch.is_made_here:
                # It is made again from what is installed. A folder that the user has given is never removed.
                await in_background(self._model.clear)
            self._reload.again()
            await self.fetch(show)
            self.take_over()

    async def fetch(self, show: Callable[[str, float | None], None]) -> None:
        """Bring the weights where they are not here, and decide the start by them. Raises MariTalkError."""
        if self.launch.fetch is not None:
            await download(self.launch.fetch, show)
            self._reload.again()

    async def loaded(self) -> None:
        """An engine has loaded the model's files as they are now."""
        location = self.launch.location
        await _within(_MODEL_SECONDS, lambda: self._model.loaded(location))

    async def _repeat(self, seconds: float, look: Callable[[], Awaitable[bool]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            error: Exception | None = None
            try:
                if await look() or self._is_due:
                    self.take_over()
            except Exception as caught:  # noqa: BLE001 -- logged; the next look may succeed
                error = caught
            self._note(look.__name__, error)

    async def _look_at_files(self) -> bool:
        changed = self._reload.look()
        for name, sentence, problem in (
            ("log", _LOG_LOST, self._log.problem),
            ("temporary_folder", _NO_FOLDER, self.folder.problem(to_write=False)),
        ):
            changed |= self._reload.found(name, sentence if problem else "", problem)
        return changed

    async def _look_at_model(self) -> bool:
        if self._state.phase is not Phase.READY:
            return False
        missing = await in_background(self._model.differ)
        return self._reload.found("model", _NO_MODEL if missing else "")

    def _note(self, name: str, error: Exception | None) -> None:
        """Log an error once, however often it comes back."""
        text = f"{type(error).__name__}: {error}" if error is not None else ""
        if text and text != self._failures.get(name):
            _log.error(f"What was read again is not in use everywhere, and is tried again: {text}", exc_info=error)
        self._failures[name] = text


def _error_of(take: Callable[[Launch], None], launch: Launch) -> Exception | None:
    try:
        take(launch)
    except Exception as error:  # noqa: BLE001 -- logged by the caller
        return error
    return None


async def _within(seconds: float, call: Callable[[], T]) -> T | None:
    """The result of `call`, which goes on by itself where it takes longer; None then."""
    try:
        return await asyncio.wait_for(in_background(call), seconds)
    except TimeoutError:
        _log.warning("The model's files cannot be looked at: their disk does not answer.")
        return None
