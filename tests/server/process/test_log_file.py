"""The log file: the pipe is copied to files of bounded size, and writers never wait for the disk."""

import errno
import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.process import log_file as module
from maritalk_vllm.server.process.log_file import LogFile
from maritalk_vllm.settings import LogFormat
from tests.serving import until

LINE = b"%04d of a log\n"
MAX_BYTES = len(LINE % 0) * 10


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.02)


@contextmanager
def opened(
    path: Path, form: LogFormat = LogFormat.TEXT, max_bytes: int = MAX_BYTES, backups: int = 2
) -> Iterator[LogFile]:
    """A log file that is written to. pytest's handlers of the root logger are restored afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        with LogFile(path, form, max_bytes, backups) as log:
            log.start()
            yield log
    finally:
        root.handlers, root.level = handlers, level


def write(log: LogFile, *numbers: int) -> None:
    for number in numbers:
        os.write(log.fileno(), LINE % number)


def numbers(path: Path) -> list[int]:
    return [int(line[:4]) for line in path.read_bytes().splitlines() if line.endswith(b"of a log")]


def test_output_of_all_processes_is_in_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    with opened(path, max_bytes=10_000) as log:
        subprocess.run(["sh", "-c", "echo out; echo error >&2"], stdout=log.fileno(), stderr=log.fileno(), check=True)
        logging.getLogger("maritalk_vllm").warning("own: três")
    out, error, logged = path.read_text().splitlines()
    assert (out, error) == ("out", "error")
    assert re.fullmatch(r"WARNING \d\d-\d\d \d\d:\d\d:\d\d \[test_log_file.py:\d+\] own: três", logged)
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_before_the_start_of_the_writer_are_kept(tmp_path: Path) -> None:
    """Also if the server exits before the writer starts."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers[:], []
    try:
        with LogFile(tmp_path / "log", LogFormat.JSON, MAX_BYTES, 1):
            logging.getLogger("maritalk_vllm").warning("early")
    finally:
        root.handlers = handlers
    assert json.loads((tmp_path / "log").read_text())["message"] == "early"


def test_files_are_rotated_at_line_ends_and_their_number_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, *range(45))
    files = [path.with_name("log.2"), path.with_name("log.1"), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= MAX_BYTES and file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert [number for file in files for number in numbers(file)] == list(range(20, 45))


def test_a_line_longer_than_a_file_is_split(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path, backups=1) as log:
        os.write(log.fileno(), b"x" * (MAX_BYTES * 5 + 7))
    assert path.read_bytes() == b"x" * 7
    assert path.with_name("log.1").read_bytes() == b"x" * MAX_BYTES


def test_without_backups_a_full_file_is_replaced(tmp_path: Path) -> None:
    with opened(tmp_path / "log", backups=0) as log:
        write(log, *range(25))
    assert numbers(tmp_path / "log") == list(range(20, 25))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_log_of_an_earlier_start_becomes_a_backup_and_excess_backups_are_removed(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.2", "log.3", "log.4"):
        (tmp_path / name).write_text(name)
    with opened(tmp_path / "log"):
        pass
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert kept == {"log": "", "log.1": "log", "log.2": "log.1"}


@pytest.mark.parametrize("how", ["removed", "renamed", "folder removed"])
def test_a_missing_file_is_created_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "logs" / "log"
    with opened(path) as log:
        write(log, 1)
        until(lambda: numbers(path) == [1], "the first line")
        if how == "renamed":
            path.rename(tmp_path / "renamed")
        elif how == "removed":
            path.unlink()
        else:
            shutil.rmtree(path.parent)
        # Before the next line: another program may wait for the file.
        until(path.exists, "the file exists again")
        write(log, 2)
        until(lambda: numbers(path) == [2], "the second line")
        assert log.problem == ""
    if how == "renamed":
        assert numbers(tmp_path / "renamed") == [1]


def test_writing_continues_in_a_file_that_another_program_has_truncated(tmp_path: Path) -> None:
    """Logrotate's `copytruncate` does so."""
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, 1, 2)
        until(lambda: numbers(path) == [1, 2], "two lines")
        os.truncate(path, 0)
        write(log, 3)
    assert path.read_bytes() == LINE % 3


def test_a_full_disk_does_not_block_writers_and_lost_bytes_are_reported(tmp_path: Path) -> None:
    """Writes more than the pipe holds. /dev/full stands for a full disk."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    with opened(path, max_bytes=1 << 22) as log:
        for _ in range(40):
            os.write(log.fileno(), b"x" * 65_535 + b"\n")
        until(lambda: log.problem == "No space left on device", "the problem is reported")
        write(log, 1)
        path.unlink()
        until(lambda: not log.problem or path.exists(), "a new file")
        write(log, 2)
        until(lambda: log.problem == "" and numbers(path)[-1:] == [2], "the problem is resolved")
    assert b" bytes of this log were lost: it could not be written.\n" in path.read_bytes()


def test_a_disk_with_space_again_is_detected_before_the_next_line(tmp_path: Path) -> None:
    """A file size limit of this process stands for a full disk."""
    path = tmp_path / "log"
    path.touch()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path, max_bytes=1 << 20) as log:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            write(log, 1)
            until(lambda: log.problem == "File too large", "the problem is reported")
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            until(lambda: log.problem == "", "the problem is resolved")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == b"14 bytes of this log were lost: it could not be written.\n"
        write(log, 2)
    assert numbers(path) == [2]


def test_backups_are_kept_if_no_new_file_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, *range(20))
        until(lambda: path.exists() and numbers(path) == list(range(10, 20)), "two files")
        original_open = log._open

        def fail() -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(log, "_open", fail)
        write(log, *range(20, 40))
        until(lambda: log.problem == "Too many open files", "the problem is reported")
        until(lambda: log._lost_bytes == 20 * len(LINE % 0), "all lines are lost")
        assert numbers(path.with_name("log.1")) == list(range(10, 20))
        assert numbers(path.with_name("log.2")) == list(range(10))
        monkeypatch.setattr(log, "_open", original_open)
        write(log, 40)
        until(lambda: log.problem == "" and path.exists() and numbers(path) == [40], "the problem is resolved")


def test_a_folder_at_the_path_is_a_problem_until_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        path.unlink()
        path.mkdir()
        until(lambda: log.problem == "Is a directory", "the problem is reported")
        write(log, 1)
        assert log.problem == "Is a directory"
        path.rmdir()
        until(lambda: log.problem == "", "the problem is resolved")
        write(log, 2)
    assert numbers(path)[-1] == 2


def test_a_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Choose --log-file"):
        LogFile(tmp_path / "file" / "log", LogFormat.TEXT, MAX_BYTES, 1)
