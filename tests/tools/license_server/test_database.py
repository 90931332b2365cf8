"""The database, with several processes and many threads."""

import multiprocessing
import sqlite3
import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from maritalk_vllm.errors import Unavailable, UsageError
from maritalk_vllm.tools.license_server import audit_log, license_keys
from maritalk_vllm.tools.license_server.database import Database

ROUNDS = 25


def add_keys(file: Path) -> list[str]:
    with Database(file) as database:
        return [license_keys.add(database, ("small",)) for _ in range(ROUNDS)]


def test_processes_create_the_database_concurrently(tmp_path: Path) -> None:
    file = tmp_path / "new" / "licenses.db"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        made = [key for each in pool.map(add_keys, [file] * 4) for key in each]
    with Database(file) as database:
        assert {license_keys.find(database, key).id for key in made} == set(range(1, 4 * ROUNDS + 1))  # type: ignore[union-attr]
        assert len(database.read("SELECT secret FROM service")) == 1
        assert len(audit_log.last(database, 1000)) == 4 * ROUNDS


def test_threads_share_one_connection(tmp_path: Path) -> None:
    with Database(tmp_path / "licenses.db") as database, ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: license_keys.add(database, ("small",)), range(100)))
        assert all(pool.map(lambda key: license_keys.find(database, key), made))


def test_database_is_private_to_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Database(folder / "licenses.db") as database:
        license_keys.add(database, ("small",))
        assert {file.name for file in folder.iterdir()} == {"licenses.db", "licenses.db-wal", "licenses.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir()] == ["licenses.db"]


def test_failed_transaction_is_rolled_back(tmp_path: Path) -> None:
    with Database(tmp_path / "licenses.db") as database:
        with pytest.raises(Unavailable, match="no such table"), database.write() as connection:
            audit_log.record(connection, audit_log.Entry("x"))
            connection.execute("INSERT INTO missing VALUES (1)")
        assert audit_log.last(database, 1) == []


def test_other_files_are_rejected_unchanged(tmp_path: Path) -> None:
    text, empty, other = tmp_path / "text", tmp_path / "empty", tmp_path / "other"
    text.write_text("no database, but long enough to be taken for one\n" * 30)
    empty.touch()
    with sqlite3.connect(other) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for file in (text, empty, other, tmp_path, Path("/proc/nowhere/licenses.db")):
        before = file.read_bytes() if file.is_file() else None
        with pytest.raises(UsageError, match="database"):
            Database(file)
        assert before is None or file.read_bytes() == before


def test_keys_have_no_ambiguous_characters(tmp_path: Path) -> None:
    made = add_keys(tmp_path / "licenses.db")
    assert len(set(made)) == ROUNDS
    for key in made:
        assert [len(group) for group in key.split("-")] == [5, 5, 5, 5]
        assert not set(key) & set("01IOL")
