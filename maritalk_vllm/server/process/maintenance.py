"""Periodic checks of the supervisor: files that may change, the log, the temporary folder and the model's files."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from ...errors import EngineError, MariTalkError
from ..startup.launch import Launch
from ..startup.temporary_folder import TemporaryFolder
from ..status.server_state import Phase, ServerState
from .async_tasks import run_in_background
from .config_reload import POLL_SECONDS, ConfigReload
from .download_process import download
from .log_file import LogFile
from .model_files import ModelFiles

T = TypeVar("T")

_LOG_LOST = "The log cannot be written: its lines are lost."
_NO_FOLDER = "The temporary folder was removed and cannot be created again: the next engine uses another one."
_MODEL_POLL_SECONDS = 2.0
_MODEL_CHECK_SECONDS = 5.0
"""How long a start waits for a check of the model's files, whose disk may be slow or hang."""

_log = logging.getLogger(__name__)


class Maintenance:
    """Keeps a launch up to date with its files, and notifies subscribers of each change."""

    def __init__(
        self, reload: ConfigReload, log: LogFile, state: ServerState, subscribers: Sequence[Callable[[Launch], None]]
    ) -> None:
        """`subscribers` are called with each new launch. Raises UsageError if no temporary folder can be created."""
        self._reload = reload
        self._log = log
        self._state = state
        self._subscribers = subscribers
        self.folder = TemporaryFolder()
        self._model = ModelFiles()
        self._reload_requested = asyncio.Event()
        self._reloading = asyncio.Lock()  # held while a thread uses `_reload`
        self._retry_due = False
        self._logged_errors: dict[str, str] = {}

    @property
    def launch(self) -> Launch:
        """The launch, with everything that was reloaded since the start."""
        return self._reload.launch

    @property
    def successor(self) -> Launch | None:
        """The launch for which the last reload requires another engine."""
        return self._reload.successor

    @property
    def files_have_changed(self) -> bool:
        """Whether the successor is required by changed files of the model, and not by settings."""
        return self._reload.files_have_changed

    async def use_successor(self, successor: Launch, take_over: Callable[[], object]) -> None:
        """Use a launch whose engine is ready, and call `take_over`. Does nothing if a reload has withdrawn it."""
        async with self._reloading:
            if self._reload.successor is successor:
                self._reload.use_successor()
                self._model = ModelFiles()
                take_over()
                self.apply()

    async def reject_successor(self, successor: Launch, error: MariTalkError) -> None:
        """Keep the current launch, since the engine of `successor` does not start."""
        async with self._reloading:
            if self._reload.successor is successor:
                self._reload.reject_successor(error)

    async def switch_launch(self, error: EngineError | None) -> None:
        """Use the launch that the last reload requires, or, after the error of its engine, return to the one before."""
        async with self._reloading:
            if error is None:
                self._reload.use_successor()
            else:
                self._reload.use_predecessor(error)
        self._model = ModelFiles()
        self.apply()

    async def run(self) -> None:
        """Check until cancelled. A check of the model's files on a disk that hangs does not delay the other checks.

        All files are read in threads, since any disk may be slow.
        """
        await asyncio.gather(
            self._repeat(POLL_SECONDS, self._check_files),
            self._repeat(_MODEL_POLL_SECONDS, self._check_model),
            self._reload_on_request(),
        )

    def reload(self) -> None:
        """Handle SIGHUP: reopen the log, and have `run` reload everything at once."""
        self._log.reopen()
        self._reload_requested.set()

    def apply(self) -> None:
        """Pass the launch to all subscribers, even if one fails. Subscribers that fail are called again later."""
        launch = self.launch
        self._state.files = dict(self._reload.problems)
        self._state.reloads, self._state.not_applied = self._reload.reloads, self._reload.not_applied
        self._log.set_limits(launch.settings.log_max_mb * 1_000_000, launch.settings.log_backups)
        self._retry_due = False
        for number, subscriber in enumerate(self._subscribers):
            error = _error_of(subscriber, launch)
            self._log_error(str(number), error)
            self._retry_due = self._retry_due or error is not None

    async def restore_files(
        self, on_folder_lost: Callable[[], None], show: Callable[[str, float | None], None]
    ) -> None:
        """Before a start, replace a lost temporary folder, and download changed model files again.

        `on_folder_lost` is called before another folder replaces one that cannot be created again; `show` as for
        `download`. Raises MariTalkError.
        """
        if await run_in_background(self.folder.problem):
            on_folder_lost()
            await run_in_background(self.folder.move)
        if await _within(_MODEL_CHECK_SECONDS, self._model.have_changed):
            if self.launch.source.is_made_here:
                # It is created again from the installed package. A folder that the user has given is never removed.
                await run_in_background(self._model.remove)
            await self._resolve_again()
            await self.download_weights(show)
            self.apply()

    async def download_weights(self, show: Callable[[str, float | None], None]) -> None:
        """Download the weights if they are not local, and resolve the launch with them. Raises MariTalkError."""
        if self.launch.source.fetch is not None:
            await download(self.launch.source.fetch, show, self._log)
            await self._resolve_again()

    async def _resolve_again(self) -> None:
        """Resolve the launch again: in a thread, since it asks the driver and reads each file's header."""
        async with self._reloading:
            await run_in_background(self._reload.resolve_again)

    async def record_loaded(self) -> None:
        """Record the model's files that an engine has just loaded."""
        location = self.launch.source.location
        await _within(_MODEL_CHECK_SECONDS, lambda: self._model.record_loaded(location))

    async def _repeat(self, seconds: float, check: Callable[[], Awaitable[bool]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._apply_if_changed(check)

    async def _reload_on_request(self) -> None:
        while True:
            await self._reload_requested.wait()
            self._reload_requested.clear()
            await self._apply_if_changed(self._reload_all)

    async def _apply_if_changed(self, check: Callable[[], Awaitable[bool]]) -> None:
        error: Exception | None = None
        try:
            if await check() or self._retry_due:
                self.apply()
        except Exception as caught:  # noqa: BLE001 -- logged; the next check may succeed
            error = caught
        self._log_error(check.__name__, error)

    async def _reload_all(self) -> bool:
        files = None
        if (loaded := self.launch.files) is not None:
            # Not within the lock: a disk that hangs must not delay that keys are revoked.
            files = await _within(_MODEL_CHECK_SECONDS, loaded.again)
        async with self._reloading:
            await run_in_background(partial(self._reload.reload, files))
        return True

    async def _check_files(self) -> bool:
        async with self._reloading:
            return await run_in_background(self._poll_files)

    def _poll_files(self) -> bool:
        changed = self._reload.poll()
        for name, sentence, problem in (
            ("log", _LOG_LOST, self._log.problem),
            ("temporary_folder", _NO_FOLDER, self.folder.problem(to_write=False)),
        ):
            changed |= self._reload.set_problem(name, sentence if problem else "", problem)
        return changed

    async def _check_model(self) -> bool:
        if self._state.phase is not Phase.READY:
            return False
        changed = await run_in_background(self._model.have_changed)
        async with self._reloading:
            return self._reload.report_model(has_changed=changed)

    def _log_error(self, name: str, error: Exception | None) -> None:
        """Log an error, but not again while it repeats."""
        text = f"{type(error).__name__}: {error}" if error is not None else ""
        if text and text != self._logged_errors.get(name):
            _log.error(f"A reload could not be applied everywhere, and is retried: {text}", exc_info=error)
        self._logged_errors[name] = text


def _error_of(subscriber: Callable[[Launch], None], launch: Launch) -> Exception | None:
    try:
        subscriber(launch)
    except Exception as error:  # noqa: BLE001 -- logged by the caller
        return error
    return None


async def _within(seconds: float, call: Callable[[], T]) -> T | None:
    """The result of `call`, or None after `seconds`: then the call continues in its thread."""
    try:
        async with asyncio.timeout(seconds):
            return await run_in_background(call)
    except TimeoutError:
        _log.warning("The model's files cannot be looked at: their disk does not answer.")
        return None
