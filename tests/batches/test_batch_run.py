"""The worker and its batches, in front of an application that answers as a test says. The stores are real."""

import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.batches import batch_run, batch_service, disk_guard
from maritalk_vllm.batches.batch_metrics import BatchMetrics
from maritalk_vllm.batches.batch_records import Batch
from maritalk_vllm.batches.batch_service import BatchService
from maritalk_vllm.batches.batch_store import BatchStore
from maritalk_vllm.batches.disk_guard import DiskGuard
from maritalk_vllm.engine.request_context import context_of
from maritalk_vllm.engine.service_tier import ServiceTier
from maritalk_vllm.server.middleware.batch_budget import BatchBudget
from maritalk_vllm.server.middleware.rate_limit import Usage
from tests.api.engine_loads import Load
from tests.batches.samples import ANA, jsonl, line, stored_batch, stored_file
from tests.counting import generated

LINE_TOKENS = 10
"""Tokens that each line uses, of its prompt and its answer."""


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
        context.usage.admit(4, generated(LINE_TOKENS - 4))
        statuses = self._statuses.get(prompt, (200,))
        if (status := statuses[min(times, len(statuses) - 1)]) == 0:
            await asyncio.Event().wait()
        await Response(b"{}", status)(scope, receive, send)


def computed(
    folder: Path,
    app: ASGIApp,
    prompts: list[str],
    batch: Batch,
    is_ready: Callable[[], bool] = lambda: True,
    is_valid_key: Callable[[str], bool] = lambda key: True,
    budget: BatchBudget | None = None,
    registry: CollectorRegistry | None = None,
) -> tuple[Batch, list[Any]]:
    """The batch when it is over, and its results of both files."""

    async def run() -> tuple[Batch, list[Any]]:
        service = BatchService(folder, lambda: 3600, lambda: None)
        stores = service.stores
        upload = stores.folder.uploads / "x"
        upload.write_bytes(jsonl(line(prompt, prompt=prompt) for prompt in prompts))
        await stores.files.add(stored_file(batch.input_file_id), upload)
        await stores.batches.create(batch)
        tokens = budget or BatchBudget(Usage(None, None))
        service.start(app, Load(places=8), is_ready, is_valid_key, tokens, registry or CollectorRegistry())
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
    usage = Usage(None, None, batch_tokens=1000)
    batch, results = computed(tmp_path, app, ["a", "b", *"cdef"], stored_batch(seconds=2), budget=BatchBudget(usage))
    assert (batch.status, batch.completed, batch.failed) == ("expired", 5, 1)
    assert usage.batch_tokens is not None
    assert usage.batch_tokens.remaining(ANA) == 1000 - 6 * LINE_TOKENS  # also of the aborted line
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


def test_lines_wait_for_the_tokens_of_their_keys_next_minute(tmp_path: Path) -> None:
    """A minute has 25 tokens. What the third line uses beyond them is deducted from the next minute."""
    registry, app = CollectorRegistry(), Application()
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    expected = [3, 5, 6]
    begun: list[int] = []

    def is_ready() -> bool:
        """Called a few times a second. A minute later, once the lines of this one are done and the next one waits."""
        if len(begun) < len(expected) and len(app.requests) >= expected[len(begun)]:
            waiting = registry.get_sample_value("maritalk_batch_keys_waiting")
            if waiting or len(app.requests) == 6:
                begun.append(len(app.requests))
                clock.now += 60
        return True

    with patch("maritalk_vllm.server.middleware.usage_window.time", clock):
        budget = BatchBudget(Usage(None, None, batch_tokens=25))
        batch, _ = computed(tmp_path, app, list("abcdef"), stored_batch(), is_ready, budget=budget, registry=registry)
    assert begun[:2] == expected[:2]
    assert (batch.status, batch.completed, len(app.requests)) == ("completed", 6, 6)
    assert registry.get_sample_value("maritalk_batch_tokens_total", {"kind": "prompt", "key": "ana"}) == 24
    assert registry.get_sample_value("maritalk_batch_tokens_total", {"kind": "answer", "key": "ana"}) == 36


def test_with_a_limit_of_tokens_the_first_line_shows_how_many_a_line_has(tmp_path: Path) -> None:
    inner, released = Application(), asyncio.Event()
    begun: list[int] = []
    numbers: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(len(begun))
        await released.wait()
        await inner(scope, receive, send)

    def is_ready() -> bool:
        if begun:
            numbers.append(len(begun))
        if len(numbers) == 4:
            released.set()
        return True

    budget = BatchBudget(Usage(None, None, batch_tokens=1000))
    assert computed(tmp_path, app, list("abcdef"), stored_batch(), is_ready, budget=budget)[0].completed == 6
    assert numbers[:4] == [1, 1, 1, 1]


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


def test_a_pause_lasts_until_every_write_has_succeeded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What needs no room on the disk can be written meanwhile, and says nothing about the rest."""
    monkeypatch.setattr(disk_guard, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(disk_guard._log, "propagate", True)
    guard = DiskGuard(BatchMetrics(CollectorRegistry()))
    is_full = True

    async def write() -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        nonlocal is_full
        results = [asyncio.create_task(guard.persist(write)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await guard.persist(lambda: asyncio.sleep(0))
        states.append(guard.is_full)
        is_full = False
        await asyncio.gather(*results)
        states.append(guard.is_full)

    states: list[bool] = []
    asyncio.run(scenario())
    assert (states, len(caplog.records)) == ([True, False], 2)
