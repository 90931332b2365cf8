"""The records of files and batches, in a real database."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from maritalk_vllm.batches import batch_database
from maritalk_vllm.batches.batch_database import connect
from maritalk_vllm.batches.batch_records import BatchStatus, LineError
from maritalk_vllm.batches.batch_service import Stores
from maritalk_vllm.batches.data_folder import DataFolder
from maritalk_vllm.errors import BodyTooLarge, Conflict, NotFound, RequestError, UsageError
from tests.batches.samples import ANA, RUI, stored_batch, stored_file
from tests.batches.stores import add, with_stores


def test_records_outlive_the_process(tmp_path: Path) -> None:
    file, batch = stored_file(), stored_batch()
    batch = msgspec.structs.replace(batch, errors=(LineError(code="a", message="b", line=3),))

    async def write(stores: Stores) -> None:
        await add(stores)
        await stores.batches.create(batch)

    async def read(stores: Stores) -> None:
        assert (await stores.files.get(ANA, "file-1")).filename == file.filename
        assert await stores.batches.get(ANA, "batch_1") == batch
        assert stores.folder.content("file-1").read_bytes() == b"{}\n"
        assert list(stores.folder.uploads.iterdir()) == []

    with_stores(tmp_path, write)
    with_stores(tmp_path, read)


def test_the_files_of_a_key_are_limited(tmp_path: Path) -> None:
    """Neither expired files nor those of other keys count."""

    async def scenario(stores: Stores) -> None:
        for file_id, owner, seconds in (("file-1", ANA, 3600), ("file-2", RUI, 3600), ("file-3", ANA, -1)):
            await add(stores, file_id, owner, seconds=seconds)
        content = stores.folder.uploads / "file-4"
        content.write_bytes(b"{}\n")
        with pytest.raises(BodyTooLarge):
            await stores.files.check_room(ANA, 3, 5)
        with pytest.raises(BodyTooLarge):
            await stores.files.add(stored_file("file-4"), content, 5)
        assert content.exists()
        await stores.files.check_room(ANA, 3, 6)
        await stores.files.add(stored_file("file-4"), content, 6)

    with_stores(tmp_path, scenario)


def test_a_key_sees_only_its_own_objects(tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await add(stores)
        await stores.batches.create(stored_batch())
        for denied in (
            stores.files.get(RUI, "file-1"),
            stores.files.delete(RUI, "file-1"),
            stores.batches.create(stored_batch("batch_2", RUI)),
            stores.batches.get(RUI, "batch_1"),
            stores.batches.cancel(RUI, "batch_1"),
            stores.batches.page(RUI, 10, "batch_1"),
        ):
            with pytest.raises(NotFound):
                await denied
        assert (await stores.batches.page(RUI, 10, None)).items == ()

    with_stores(tmp_path, scenario)


def test_a_batch_goes_through_its_states(tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await add(stores)
        await stores.batches.create(stored_batch())
        with pytest.raises(Conflict):
            await stores.files.delete(ANA, "file-1")
        await stores.batches.begin("batch_1", 7)
        await stores.batches.count("batch_1", 4, 1)
        (batch,) = await stores.batches.unfinished()
        assert (batch.status, batch.total, batch.completed, batch.failed) == (BatchStatus.IN_PROGRESS, 7, 4, 1)
        await stores.batches.finalize("batch_1")
        with pytest.raises(Conflict, match="finalizing"):
            await stores.batches.cancel(ANA, "batch_1")
        output = stored_file("file-out-batch_1", purpose="batch_output")
        await stores.batches.finish("batch_1", BatchStatus.COMPLETED, (6, 1), output, None)
        batch = await stores.batches.get(ANA, "batch_1")
        assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", output.id, None)
        assert batch.completed_at is not None and batch.cancelled_at is None
        assert await stores.batches.unfinished() == []
        await stores.files.delete(ANA, "file-1")
        with pytest.raises(RequestError, match="batch_output"):
            await stores.batches.create(stored_batch("batch_2", file_id=output.id))

    with_stores(tmp_path, scenario)


def test_a_cancelled_batch_gets_no_other_state(tmp_path: Path) -> None:
    async def scenario(stores: Stores) -> None:
        await add(stores)
        await stores.batches.create(stored_batch())
        await stores.batches.cancel(ANA, "batch_1")
        await stores.batches.begin("batch_1", 7)
        await stores.batches.finalize("batch_1")
        assert (await stores.batches.cancel(ANA, "batch_1")).status is BatchStatus.CANCELLING
        await stores.batches.finish("batch_1", BatchStatus.EXPIRED, (0, 0), None, None)
        assert (await stores.batches.get(ANA, "batch_1")).status is BatchStatus.CANCELLED
        await stores.batches.fail("batch_1", [])
        assert (await stores.batches.get(ANA, "batch_1")).status is BatchStatus.CANCELLED

    with_stores(tmp_path, scenario)


def test_expired_objects_are_deleted(tmp_path: Path) -> None:
    """Except the input of a batch that is not over, and an upload that may still be in progress."""

    async def scenario(stores: Stores) -> None:
        await add(stores, "file-1")
        await add(stores, "file-old", seconds=-1)
        await stores.batches.create(stored_batch())
        await stores.database.run(lambda connection: connection.execute("UPDATE files SET expires_at = 1"))
        for name in ("file-orphan", "file-new"):
            stores.folder.content(name).touch()
        for each in stores.folder.files.iterdir():
            if each.name != "file-new":
                os.utime(each, (1, 1))
        with pytest.raises(NotFound):
            await stores.files.get(ANA, "file-1")
        await stores.files.sweep()
        assert sorted(each.name for each in stores.folder.files.iterdir()) == ["file-1", "file-new"]
        await stores.batches.sweep(int(time.time()) + 10)
        assert len(await stores.batches.unfinished()) == 1
        await stores.batches.fail("batch_1", [])
        await stores.batches.sweep(int(time.time()) + 10)
        with pytest.raises(NotFound):
            await stores.batches.get(ANA, "batch_1")

    with_stores(tmp_path, scenario)


def test_kills_leave_whole_transactions(tmp_path: Path) -> None:
    """A process adds files and ends batches, and is killed at random moments."""
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.batches.stores import *\n"
        "async def write(stores):\n"
        "    for number in range(100000):\n"
        "        name = f'{sys.argv[2]}-{number}'\n"
        "        await add(stores, f'file-{name}')\n"
        "        await stores.batches.create(stored_batch(f'batch_{name}', file_id=f'file-{name}'))\n"
        "        await stores.batches.begin(f'batch_{name}', 1)\n"
        "        output = stored_file(f'file-out-batch_{name}', purpose='batch_output')\n"
        "        await stores.batches.finish(f'batch_{name}', BatchStatus.COMPLETED, (1, 0), output, None)\n"
        "        print(number, flush=True)\n"
        "with_stores(Path(sys.argv[1]), write)"
    )
    chance, reported = random.Random(3), 0
    for attempt in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", program, tmp_path, str(attempt)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            reported += bool(process.stdout.readline())
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            reported += len(process.stdout.readlines())

    async def check(stores: Stores) -> None:
        page = await stores.batches.page(ANA, 10_000, None)
        done = [each for each in page.items if each.status is BatchStatus.COMPLETED]
        assert len(done) >= reported >= 3
        for batch in page.items:
            assert stores.folder.content(batch.input_file_id).exists()
            assert (batch.output_file_id is None) == (batch.status is not BatchStatus.COMPLETED)
            if batch.output_file_id is not None:
                await stores.files.get(ANA, batch.output_file_id)

    with_stores(tmp_path, check)


def test_a_database_of_a_newer_version_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "batches.sqlite"
    connect(file).close()
    connect(file).close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(batch_database._MIGRATIONS),)
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UsageError, match="has schema 99, and this version of the server knows 1"):
        DataFolder(tmp_path).reserve()


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "batches.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match=r"batches\.sqlite, cannot be used: file is not a database"):
        DataFolder(tmp_path).reserve()


def test_a_folder_is_one_servers(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from maritalk_vllm.batches.data_folder import DataFolder\n"
        "lock = DataFolder(Path(sys.argv[1])).reserve(); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UsageError, match="Another server keeps its files and batches in"):
            DataFolder(tmp_path).reserve()
        other.kill()
        other.wait()
        DataFolder(tmp_path).reserve().release()
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "files", tmp_path / "uploads")} == {0o700}
