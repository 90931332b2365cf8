"""The mounted home folder of a container, as seen by a user other than root."""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maritalk_vllm.cli import license_server
from maritalk_vllm.cli.container_home import VARIABLE, mounted_home_warning, use_mounted_home
from maritalk_vllm.settings import Settings
from tests.cli.test_config import shown_values

NOBODY = 65534


def home_and_warning(mounted_folder: Path, user: int) -> tuple[str, str | None]:
    """HOME and the warning after `use_mounted_home` runs as `user`."""

    def run_as_user(answers: "multiprocessing.SimpleQueue[tuple[str, str | None]]") -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        environment = {"HOME": "/home/maritalk", VARIABLE: str(mounted_folder)}
        use_mounted_home(environment)
        answers.put((environment["HOME"], mounted_home_warning(environment)))

    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    process = fork.Process(target=run_as_user, args=(answers,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return answers.get()


@pytest.fixture
def mounted_folder() -> Iterator[Path]:
    """A folder that other users can access, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_own_folder_becomes_home(mounted_folder: Path) -> None:
    if os.getuid() == 0:
        os.chown(mounted_folder, NOBODY, NOBODY)
    assert home_and_warning(mounted_folder, NOBODY) == (str(mounted_folder), None)


def test_folder_of_another_user_causes_a_warning(mounted_folder: Path) -> None:
    mounted_folder.chmod(0o555)
    user = NOBODY if os.getuid() == 0 else os.getuid()
    home, warning = home_and_warning(mounted_folder, NOBODY)
    assert home == "/home/maritalk"
    assert warning == (
        f"User {user} may not write to {mounted_folder}: what is downloaded goes to /home/maritalk instead. "
        f"Start the container as the folder's owner: docker run --user {os.getuid()}:{os.getgid()}."
    )


def test_home_is_unchanged_without_a_folder(mounted_folder: Path) -> None:
    assert home_and_warning(mounted_folder / "none", NOBODY) == ("/home/maritalk", None)
    mounted_folder.chmod(0o700)
    assert home_and_warning(mounted_folder / "none", NOBODY) == ("/home/maritalk", None)


def test_cache_is_below_the_mounted_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    value, _ = shown_values(**{VARIABLE: str(tmp_path)})["cache_dir"]
    assert value == f"{tmp_path}/.cache/maritalk-vllm"


def test_the_default_cache_folder_is_that_of_the_home_at_the_time_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the time when the module was imported, which may be before the home is set."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    for home in (tmp_path / "first", tmp_path / "second"):
        monkeypatch.setenv("HOME", str(home))
        assert Settings().cache_dir == home / ".cache" / "maritalk-vllm"


def test_the_default_database_is_that_of_the_home_at_the_time_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = CliRunner().invoke(license_server.app, ["keys"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / ".local" / "share" / "maritalk-vllm" / "licenses.db").exists()
