"""The worker and its batches, in front of an application that answers as a test says. The stores are real."""

import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from maritalk_vllm.batches import batch_run, batch_service, disk_guard
from maritalk_vllm.batches.batch_metrics import BatchMetrics
from maritalk_vllm.batches.batch_records import Batch
from maritalk_vllm.batches.batch_service import BatchService
from maritalk_vllm.batches.batch_store import BatchStore
from maritalk_vllm.batches.disk_guard import DiskGuard
from maritalk_vllm.engine.request_context import context_of
from maritalk_vllm.engine.service_tier import ServiceTier
from tests.api.engine_loads import Load
from tests.batches.samples import ANA, jsonl, line, stored_batch, stored_file


class Application:
    """Answers each request with the next status of its prompt, and the last one from then on; 0 never answers."""

    def __init__(self, **statuses: tuple[int, ...]) -> None:
        self.requests: list[str] = []
        self._statuses = statuses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        assert context is not None and context.tier is ServiceTier.BATCH
        prompt = json.loads((await receive())["body"])["prompt"]
        times = self.requests.count(prompt)
        self.requests.append(prompt)
        statuses = self._statuses.get(prompt, (200,))
        if (status := statuses[min(times, len(statuses) - 1)]) == 0:
            await asyncio.Event().wait()
        await Response(b"{}", status)(scope, receive, send)


def computed(
    folder: Path,
    app: Application,
    prompts: list[str],
    batch: Batch,
    is_ready: Callable[[], bool] = lambda: True,
    is_valid_key: Callable[[str], bool] = lambda key: True,
) -> tuple[Batch, list[Any]]:
    """The batch when it is over, and its results of both files."""

    async def run() -> tuple[Batch, list[Any]]:
        service = BatchService(folder, lambda: 3600, lambda: None)
        stores = service.stores
        upload = stores.folder.uploads / "x"
        upload.write_bytes(jsonl(line(prompt, prompt=prompt) for prompt in prompts))
        await stores.files.add(stored_file(batch.input_file_id), upload)
        await stores.batches.create(batch)
        service.start(app, Load(places=8), is_ready, is_valid_key, CollectorRegistry())
        try:
            async with asyncio.timeout(60):
                while await stores.batches.unfinished():
                    await asyncio.sleep(0.05)
        finally:
            await service.close()
        files = [stores.folder.content(each) for each in (batch.output_id, batch.error_id)]
        texts = [each.read_text() for each in files if each.exists()]
        service = BatchService(folder, lambda: 3600, lambda: None)
        over = await service.stores.batches.get(ANA, batch.id)
        await service.close()
        return over, [json.loads(each) for text in texts for each in text.splitlines()]

    return asyncio.run(run())


def test_a_line_is_sent_again_while_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "_RETRY_SECONDS", 0.01)
    app = Application(a=(503, 429, 200), b=(404,), c=(500,))
    batch, results = computed(tmp_path, app, ["a", "b", "c"], stored_batch())
    assert app.requests.count("a") == 3 and app.requests.count("b") == 1
    assert (batch.status, batch.completed, batch.failed) == ("completed", 1, 2)
    assert {each["custom_id"]: each["response"]["status_code"] for each in results} == {"a": 200, "b": 404, "c": 500}


def test_lines_without_an_answer_expire(tmp_path: Path) -> None:
    app = Application(a=(200,), b=(0,))
    batch, results = computed(tmp_path, app, ["a", "b", *"cdef"], stored_batch(seconds=2))
    assert (batch.status, batch.completed, batch.failed) == ("expired", 5, 1)
    assert batch.output_file_id is not None and batch.error_file_id is not None
    assert results[-1] | {"id": ""} == {
        "id": "",
        "custom_id": "b",
        "response": None,
        "error": {
            "code": "batch_expired",
            "message": "This request could not be executed before the completion window expired.",
        },
    }


def test_a_batch_that_expired_before_the_start_computes_nothing(tmp_path: Path) -> None:
    app = Application()
    batch = msgspec.structs.replace(stored_batch(), expires_at=1)
    over, results = computed(tmp_path, app, ["a", "b"], batch)
    assert (over.status, over.failed, len(results)) == ("expired", 2, 2)
    assert app.requests == []


def test_a_batch_may_end_while_its_progress_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def count(store: BatchStore, batch_id: str, completed: int, failed: int) -> None:
        recorded.append(completed)
        await asyncio.sleep(2)

    recorded: list[int] = []
    monkeypatch.setattr(BatchStore, "count", count)
    monkeypatch.setattr(batch_service._log, "propagate", True)
    batch, _ = computed(tmp_path, Application(b=(503, 200)), ["a", "b"], stored_batch())
    assert (batch.completed, recorded[:1]) == (2, [1])
    assert "Batches have stopped" not in caplog.text


def test_no_line_is_admitted_without_an_engine(tmp_path: Path) -> None:
    answers = iter([False] * 3)
    app = Application()

    def is_ready() -> bool:
        ready = next(answers, True)
        assert ready or not app.requests
        return ready

    assert computed(tmp_path, app, ["a"], stored_batch(), is_ready)[0].completed == 1


def test_the_batches_of_a_revoked_key_pause(tmp_path: Path) -> None:
    answers = iter([False] * 5)
    app = Application()

    def is_valid_key(owner: str) -> bool:
        assert owner == ANA
        valid = next(answers, True)
        assert valid or not app.requests
        return valid

    assert computed(tmp_path, app, ["a"], stored_batch(), is_valid_key=is_valid_key)[0].completed == 1


def test_a_failed_write_is_retried(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(disk_guard, "RETRY_SECONDS", 0.01)
    registry = CollectorRegistry()
    guard = DiskGuard(BatchMetrics(registry))
    attempts: list[bool] = []

    async def write() -> str:
        attempts.append(guard.is_full)
        if len(attempts) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return "written"

    monkeypatch.setattr(disk_guard._log, "propagate", True)
    assert asyncio.run(guard.persist(write)) == "written"
    assert (attempts, guard.is_full) == ([False, True, True, True], False)
    assert [record.getMessage() for record in caplog.records] == [
        "Batches pause: their results cannot be written: No space left on device. See to the folder in --data-dir.",
        "Batches continue: their results can be written again.",
    ]
