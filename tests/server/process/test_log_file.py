"""The log: what is written into the pipe is in a file of bounded size, and its writers never wait for a disk."""

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
MOST = len(LINE % 0) * 10


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)


@contextmanager
def opened(path: Path, form: LogFormat = LogFormat.TEXT, most: int = MOST, backups: int = 2) -> Iterator[LogFile]:
    """A log that is written; what pytest has at the root of all loggers is there again afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        with LogFile(path, form, most, backups) as log:
            log.begin()
            yield log
    finally:
        root.handlers, root.level = handlers, level


def write(log: LogFile, *numbers: int) -> None:
    for number in numbers:
        os.write(log.fileno(), LINE % number)


def numbers(path: Path) -> list[int]:
    return [int(line[:4]) for line in path.read_bytes().splitlines() if line.endswith(b"of a log")]


def test_all_that_is_written_by_any_process_is_there_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log"
    with opened(path, most=10_000) as log:
        subprocess.run(["sh", "-c", "echo out; echo error >&2"], stdout=log.fileno(), stderr=log.fileno(), check=True)
        logging.getLogger("maritalk_vllm").warning("ours: três")
    out, error, ours = path.read_text().splitlines()
    assert (out, error) == ("out", "error")
    assert re.fullmatch(r"WARNING \d\d-\d\d \d\d:\d\d:\d\d \[test_log_file.py:\d+\] ours: três", ours)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_comes_before_it_is_written_waits_and_is_not_lost(tmp_path: Path) -> None:
    """Also if the server ends before."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers[:], []
    try:
        with LogFile(tmp_path / "log", LogFormat.JSON, MOST, 1):
            logging.getLogger("maritalk_vllm").warning("early")
    finally:
        root.handlers = handlers
    assert json.loads((tmp_path / "log").read_text())["message"] == "early"


def test_it_is_rotated_at_the_end_of_a_line_and_bounded_in_all(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, *range(45))
    files = [path.with_name("log.2"), path.with_name("log.1"), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= MOST and file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert [number for file in files for number in numbers(file)] == list(range(20, 45))


def test_one_long_line_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path, backups=1) as log:
        os.write(log.fileno(), b"x" * (MOST * 5 + 7))
    assert path.read_bytes() == b"x" * 7
    assert path.with_name("log.1").read_bytes() == b"x" * MOST


def test_without_backups_it_begins_anew(tmp_path: Path) -> None:
    with opened(tmp_path / "log", backups=0) as log:
        write(log, *range(25))
    assert numbers(tmp_path / "log") == list(range(20, 25))
    assert len(list(tmp_path.iterdir())) == 1


def test_an_earlier_start_s_is_kept_and_no_more_than_wanted(tmp_path: Path) -> None:
    for name in ("log", "log.1", "log.2", "log.3", "log.4"):
        (tmp_path / name).write_text(name)
    with opened(tmp_path / "log"):
        pass
    kept = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert kept == {"log": "", "log.1": "log", "log.2": "log.1"}


@pytest.mark.parametrize("how", ["removed", "renamed", "folder removed"])
def test_a_file_that_is_gone_is_made_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "logs" / "log"
    with opened(path) as log:
        write(log, 1)
        until(lambda: numbers(path) == [1], "the first line")
        if how == "renamed":
            path.rename(tmp_path / "aside")
        elif how == "removed":
            path.unlink()
        else:
            shutil.rmtree(path.parent)
        # Before anything is written: another program waits for it, perhaps.
        until(path.exists, "made again")
        write(log, 2)
        until(lambda: numbers(path) == [2], "the second line")
        assert log.problem == ""
    if how == "renamed":
        assert numbers(tmp_path / "aside") == [1]


def test_one_that_another_program_has_cut_goes_on_from_there(tmp_path: Path) -> None:
    """`copytruncate` of logrotate."""
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, 1, 2)
        until(lambda: numbers(path) == [1, 2], "two lines")
        os.truncate(path, 0)
        write(log, 3)
    assert path.read_bytes() == LINE % 3


def test_a_full_disk_keeps_nobody_from_writing_and_says_what_was_lost(tmp_path: Path) -> None:
    """More than a pipe holds; /dev/full is a disk that is full."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    with opened(path, most=1 << 22) as log:
        for _ in range(40):
            os.write(log.fileno(), b"x" * 65_535 + b"\n")
        until(lambda: log.problem == "No space left on device", "it says so")
        write(log, 1)
        path.unlink()
        until(lambda: not log.problem or path.exists(), "another file")
        write(log, 2)
        until(lambda: log.problem == "" and numbers(path)[-1:] == [2], "in order again")
    assert b" bytes of this log were lost: it could not be written.\n" in path.read_bytes()


def test_a_disk_that_has_room_again_is_no_problem_before_the_next_line(tmp_path: Path) -> None:
    """A limit of this process on the size of files stands for a disk that is full."""
    path = tmp_path / "log"
    path.touch()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(path, most=1 << 20) as log:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            write(log, 1)
            until(lambda: log.problem == "File too large", "it says so")
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            until(lambda: log.problem == "", "in order again")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == b"14 bytes of this log were lost: it could not be written.\n"
        write(log, 2)
    assert numbers(path) == [2]


def test_backups_stay_where_no_new_file_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        write(log, *range(20))
        until(lambda: path.exists() and numbers(path) == list(range(10, 20)), "two files")
        opens = log._open

        def refused() -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(log, "_open", refused)
        write(log, *range(20, 40))
        until(lambda: log.problem == "Too many open files", "it says so")
        until(lambda: log._lost == 20 * len(LINE % 0), "all are lost")
        assert numbers(path.with_name("log.1")) == list(range(10, 20))
        assert numbers(path.with_name("log.2")) == list(range(10))
        monkeypatch.setattr(log, "_open", opens)
        write(log, 40)
        until(lambda: log.problem == "" and path.exists() and numbers(path) == [40], "in order again")


def test_a_folder_in_its_place_is_a_problem_until_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        path.unlink()
        path.mkdir()
        until(lambda: log.problem == "Is a directory", "it says so")
        write(log, 1)
        assert log.problem == "Is a directory"
        path.rmdir()
        until(lambda: log.problem == "", "in order again")
        write(log, 2)
    assert numbers(path)[-1] == 2


def test_where_none_can_be_made_the_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Choose --log-file"):
        LogFile(tmp_path / "file" / "log", LogFormat.TEXT, MOST, 1)
