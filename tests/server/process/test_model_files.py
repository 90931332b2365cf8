"""What a restart of the engine needs beside files that were read: the model's own, and a temporary folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.server.process.model_files import ModelFiles
from maritalk_vllm.server.startup.temporary_folder import TemporaryFolder


def removed(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 3)


@pytest.mark.parametrize("spoil", [removed, emptied, cut])
def test_files_that_are_not_as_they_were_loaded(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    files = ModelFiles()
    assert not files.differ()
    files.loaded(str(folder))
    (folder / "more").touch()
    assert not files.differ()
    spoil(folder)
    assert files.differ()
    files.clear()
    assert not folder.exists()


def test_a_name_of_the_hub_is_no_folder() -> None:
    files = ModelFiles()
    files.loaded("organisation/model")
    assert not files.differ()


def test_a_temporary_folder_that_is_removed_is_made_again() -> None:
    folder = TemporaryFolder()
    try:
        first = folder.path
        first.rmdir()
        assert folder.problem() == ""
        assert first.stat().st_mode & 0o777 == 0o700
        first.rmdir()
        first.touch()
        assert folder.problem() == "File exists"
        folder.move()
        assert folder.path != first
        assert folder.problem() == ""
        first.unlink()
    finally:
        folder.close()
    assert not folder.path.exists()


@pytest.mark.parametrize("foreign", ["link", "open to others", "another user's"])
def test_a_folder_of_others_with_its_name_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: str
) -> None:
    """After /tmp was cleared, any user can make something with the name."""
    folder = TemporaryFolder()
    first = folder.path
    first.rmdir()
    (tmp_path / "socket").touch()
    match foreign:
        case "link":
            tmp_path.chmod(0o700)
            first.symlink_to(tmp_path)
        case "open to others":
            first.mkdir()
            first.chmod(0o770)
        case _:
            first.mkdir(mode=0o700)
            monkeypatch.setattr(os, "geteuid", lambda: 12345)
    try:
        assert folder.problem() == "File exists"
        assert folder.problem(to_write=False) == "File exists"
        folder.move()
        monkeypatch.undo()
        assert folder.path != first
        assert folder.problem() == ""
        assert (tmp_path / "socket").exists()
        assert first.exists()
    finally:
        first.unlink() if first.is_symlink() else first.rmdir()
        folder.close()
