"""The supervisor's periodic checks, and how it restores files before a start."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.models.model_fingerprint import ModelFingerprint
from maritalk_vllm.server.process import maintenance as module
from maritalk_vllm.server.process.config_reload import ConfigReload
from maritalk_vllm.server.process.log_file import LogFile
from maritalk_vllm.server.process.maintenance import Maintenance
from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import Device, Settings
from tests.server.event_loop import never_blocked
from tests.server.process.test_log_file import opened

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"


class Rig:
    """A Maintenance of a loaded model, and the launches that it has passed to its subscribers."""

    def __init__(self, folder: Path, log: LogFile) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(f"{FIRST}\n")
        settings = Settings(
            license=EVALUATION_KEY, cache_dir=folder / "cache", device=Device.CPU, api_key_file=self.keys, port=0
        )
        self.model = Path(decide(settings).source.location)
        self.reload = ConfigReload(decide(settings))
        self.received: list[Launch] = []
        self.error: Exception | None = None
        self.maintenance = Maintenance(self.reload, log, ServerState(Phase.READY), (self._fail, self.received.append))

    def _fail(self, launch: Launch) -> None:
        if self.error is not None:
            raise self.error

    def serve(self, model: Path, *, is_made_here: bool) -> None:
        """Pretend that this folder is served. It has the name of the demo model's profile."""
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(b"weights")
        launch = self.reload.launch
        source = replace(launch.source, location=str(model), is_made_here=is_made_here)
        launch = replace(launch, source=source, resolve_again=lambda *_: launch)
        self.reload.launch = launch

    @property
    def accepts_second(self) -> bool:
        return bool(self.received) and self.received[-1].access.keys.match(SECOND) is not None


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    for name in ("POLL_SECONDS", "_MODEL_POLL_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(module, "_MODEL_CHECK_SECONDS", 0.2)
    with opened(tmp_path / "log") as log:
        rig = Rig(tmp_path, log)
        with contextlib.closing(rig.maintenance.folder):
            yield rig


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def run_with_checks(rig: Rig, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run `scenario` while the checks run."""

    async def run() -> None:
        checks = asyncio.create_task(rig.maintenance.run())
        await scenario()
        assert not checks.done()
        checks.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("is_made_here", [False, True])
def test_only_a_folder_that_the_server_has_created_is_removed(rig: Rig, tmp_path: Path, is_made_here: bool) -> None:
    """A user's own folder may have the name of a profile."""
    folder = tmp_path / "data" / "demo"
    rig.serve(folder, is_made_here=is_made_here)
    assert rig.maintenance.launch.source.name == folder.name

    async def scenario() -> None:
        await rig.maintenance.record_loaded()
        (folder / "model.safetensors").write_bytes(b"others")
        (folder / "notes").touch()
        await rig.maintenance.restore_files(lambda: None, lambda step, fraction: None)

    asyncio.run(scenario())
    assert folder.exists() != is_made_here
    assert is_made_here or (folder / "notes").exists()
    assert len(rig.received) == 1


@contextmanager
def hanging_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk on which each check of the model's files blocks until this context ends."""
    blocked, end = threading.Event(), threading.Event()

    def wait(*_: object) -> bool:
        blocked.set()
        return end.wait(60)

    for name in ("have_changed", "record_loaded"):
        monkeypatch.setattr(rig.maintenance._model, name, wait)
    yield blocked
    end.set()


def test_a_hanging_disk_delays_neither_key_reloads_nor_starts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await until(blocked.is_set)
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.accepts_second)
        await rig.maintenance.record_loaded()
        await rig.maintenance.restore_files(lambda: None, lambda step, fraction: None)

    with hanging_disk(rig, monkeypatch) as blocked:
        run_with_checks(rig, scenario)


def test_a_hanging_disk_of_the_model_does_not_keep_keys_valid_on_sighup(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The files of the model are compared at a reload; the keys are read, whether that has ended or not."""
    blocked, end = threading.Event(), threading.Event()

    def wait(fingerprint: ModelFingerprint) -> ModelFingerprint:
        blocked.set()
        end.wait(60)
        return fingerprint

    async def scenario() -> None:
        rig.maintenance.reload()
        await until(blocked.is_set)
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.accepts_second)
        await until(lambda: "read again on SIGHUP" in caplog.text)

    monkeypatch.setattr(ModelFingerprint, "again", wait)
    rig.reload.launch = replace(rig.reload.launch, files=ModelFingerprint({}))
    try:
        run_with_checks(rig, scenario)
    finally:
        end.set()


@contextmanager
def hanging_file(file: Path) -> Iterator[None]:
    """A file whose disk does not answer for three seconds: a pipe without a writer."""
    file.unlink()
    os.mkfifo(file)
    release = threading.Timer(3, lambda: os.close(os.open(file, os.O_RDWR)))
    release.start()
    yield
    release.join()


@pytest.mark.parametrize("on_sighup", [False, True])
def test_a_hanging_file_does_not_block_the_event_loop(rig: Rig, on_sighup: bool) -> None:
    async def scenario() -> None:
        async with never_blocked():
            if on_sighup:
                rig.maintenance.reload()
            await asyncio.sleep(2)

    with hanging_file(rig.keys):
        run_with_checks(rig, scenario)


def test_a_new_resolution_of_the_launch_does_not_block_the_event_loop(rig: Rig, tmp_path: Path) -> None:
    """It asks the driver for the GPUs, and reads the header of each file of the model."""
    rig.serve(tmp_path / "model", is_made_here=False)
    launch = rig.reload.launch

    def resolve(*_: object) -> Launch:
        time.sleep(2)
        return launch

    rig.reload.launch = replace(launch, resolve_again=resolve)

    async def scenario() -> None:
        await rig.maintenance.record_loaded()
        (tmp_path / "model" / "model.safetensors").unlink()
        async with never_blocked():
            await rig.maintenance.restore_files(lambda: None, lambda step, fraction: None)
        assert rig.received == [launch]

    asyncio.run(scenario())


def test_sighup_reloads_keys_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600)

    async def scenario() -> None:
        rig.keys.write_text(f"{SECOND}\n")
        rig.maintenance.reload()
        await until(lambda: rig.accepts_second)

    run_with_checks(rig, scenario)


@pytest.mark.parametrize("error", [UsageError("no pair"), OSError("no descriptor"), KeyError("a bug")])
def test_a_failing_subscriber_is_retried_and_does_not_block_the_others(
    rig: Rig, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        rig.error = error
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.accepts_second)
        count = len(rig.received)
        await until(lambda: len(rig.received) > count + 2)
        rig.error = None
        await until(lambda: not rig.maintenance._retry_due)

    run_with_checks(rig, scenario)
    assert len([each for each in caplog.records if "is retried" in each.message]) == 1


def test_checks_continue_after_one_fails(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rig.reload, "poll", lambda: 1 // 0)
            await until(lambda: "ZeroDivisionError" in caplog.text)
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.accepts_second)

    run_with_checks(rig, scenario)
