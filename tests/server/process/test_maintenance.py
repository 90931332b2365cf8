"""What the supervisor looks at while it serves, and what it does about that before a start."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.server.process import maintenance as module
from maritalk_vllm.server.process.config_reload import ConfigReload
from maritalk_vllm.server.process.log_file import LogFile
from maritalk_vllm.server.process.maintenance import Maintenance
from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import Device, Settings
from tests.server.process.test_log_file import opened

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"


class Rig:
    """An upkeep of a model that was loaded, and what it has passed on."""

    def __init__(self, folder: Path, log: LogFile) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(f"{FIRST}\n")
        settings = Settings(
            license=EVALUATION_KEY, cache_dir=folder / "cache", device=Device.CPU, api_key_file=self.keys, port=0
        )
        self.model = Path(decide(settings).location)
        self.reload = ConfigReload(decide(settings))
        self.taken: list[Launch] = []
        self.problem: Exception | None = None
        self.upkeep = Maintenance(self.reload, log, ServerState(Phase.READY), (self._fail, self.taken.append))

    def _fail(self, launch: Launch) -> None:
        if self.problem is not None:
            raise self.problem

    def serve(self, model: Path, *, is_made_here: bool) -> None:
        """As if this folder, whose name is that of the demo's profile, had been loaded."""
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(b"weights")
        launch = self.reload.launch
        launch = replace(launch, location=str(model), is_made_here=is_made_here, resolve_again=lambda *_: launch)
        self.reload.launch = launch

    @property
    def admits_second(self) -> bool:
        return bool(self.taken) and self.taken[-1].access.keys.match(SECOND) is not None


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    for name in ("LOOK_SECONDS", "_MODEL_LOOK_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(module, "_MODEL_SECONDS", 0.2)
    with opened(tmp_path / "log") as log:
        rig = Rig(tmp_path, log)
        with contextlib.closing(rig.upkeep.folder):
            yield rig


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def looking(rig: Rig, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run this while the upkeep looks."""

    async def run() -> None:
        look = asyncio.create_task(rig.upkeep.look())
        await scenario()
        assert not look.done()
        look.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("is_made_here", [False, True])
def test_only_a_folder_that_is_made_here_is_ever_removed(rig: Rig, tmp_path: Path, is_made_here: bool) -> None:
    """A user's own folder may have the name of a profile."""
    folder = tmp_path / "data" / "demo"
    rig.serve(folder, is_made_here=is_made_here)
    assert rig.upkeep.launch.name == folder.name

    async def scenario() -> None:
        await rig.upkeep.loaded()
        (folder / "model.safetensors").write_bytes(b"others")
        (folder / "notes").touch()
        await rig.upkeep.make_good(lambda: None, lambda step, fraction: None)

    asyncio.run(scenario())
    assert folder.exists() != is_made_here
    assert is_made_here or (folder / "notes").exists()
    assert len(rig.taken) == 1


@contextmanager
def hanging(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk on which each look at the model waits until the end."""
    begun, end = threading.Event(), threading.Event()

    def wait(*_: object) -> bool:
        begun.set()
        return end.wait(60)

    for name in ("differ", "loaded"):
        monkeypatch.setattr(rig.upkeep._model, name, wait)
    yield begun
    end.set()


def test_a_disk_that_hangs_keeps_no_key_valid_and_no_start_waiting(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        await until(begun.is_set)
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.admits_second)
        await rig.upkeep.loaded()
        await rig.upkeep.make_good(lambda: None, lambda step, fraction: None)

    with hanging(rig, monkeypatch) as begun:
        looking(rig, scenario)


@pytest.mark.parametrize("problem", [UsageError("no pair"), OSError("no descriptor"), KeyError("a bug")])
def test_what_cannot_be_taken_over_is_tried_again_and_keeps_nothing_else_back(
    rig: Rig, problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        rig.problem = problem
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.admits_second)
        times = len(rig.taken)
        await until(lambda: len(rig.taken) > times + 2)
        rig.problem = None
        await until(lambda: not rig.upkeep._is_due)

    looking(rig, scenario)
    assert len([each for each in caplog.records if "is tried again" in each.message]) == 1


def test_a_look_that_fails_is_not_the_last(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(rig.reload, "look", lambda: 1 // 0)
            await until(lambda: "ZeroDivisionError" in caplog.text)
        rig.keys.write_text(f"{SECOND}\n")
        await until(lambda: rig.admits_second)

    looking(rig, scenario)
