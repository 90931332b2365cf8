"""The folder that a container is given, as another user than root meets it."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.cli.container_home import VARIABLE, mounted_home_warning, use_mounted_home
from tests.cli.test_config import shown

NOBODY = 65534


def moved_in(given: Path, user: int) -> tuple[str, str | None]:
    """Whose home `user` has, and what they are told."""

    def ask(answers: "multiprocessing.SimpleQueue[tuple[str, str | None]]") -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        environment = {"HOME": "/home/maritalk", VARIABLE: str(given)}
        use_mounted_home(environment)
        answers.put((environment["HOME"], mounted_home_warning(environment)))

    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    process = fork.Process(target=ask, args=(answers,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return answers.get()


@pytest.fixture
def given() -> Iterator[Path]:
    """A folder that another user can reach: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_folder_of_ones_own_is_home(given: Path) -> None:
    if os.getuid() == 0:
        os.chown(given, NOBODY, NOBODY)
    assert moved_in(given, NOBODY) == (str(given), None)


def test_a_folder_of_somebody_elses_is_told_of(given: Path) -> None:
    given.chmod(0o555)
    user = NOBODY if os.getuid() == 0 else os.getuid()
    home, told = moved_in(given, NOBODY)
    assert home == "/home/maritalk"
    assert told == (
        f"User {user} may not write to {given}: what is downloaded goes to /home/maritalk instead. "
        f"Start the container as the folder's owner: docker run --user {os.getuid()}:{os.getgid()}."
    )


def test_without_a_folder_nothing_changes(given: Path) -> None:
    assert moved_in(given / "none", NOBODY) == ("/home/maritalk", None)
    given.chmod(0o700)
    assert moved_in(given / "none", NOBODY) == ("/home/maritalk", None)


def test_the_cache_is_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    value, _ = shown(**{VARIABLE: str(tmp_path)})["cache_dir"]
    assert value == f"{tmp_path}/.cache/maritalk-vllm"
