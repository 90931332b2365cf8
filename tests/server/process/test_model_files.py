"""Files that a restart of the engine needs: the model's files, and the temporary folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.server.process.model_files import ModelFiles
from maritalk_vllm.server.startup.temporary_folder import TemporaryFolder


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def truncate(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 3)


@pytest.mark.parametrize("damage", [rename, empty, truncate])
def test_a_change_of_loaded_files_is_detected(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    files = ModelFiles()
    assert not files.have_changed()
    files.record_loaded(str(folder))
    (folder / "more").touch()
    assert not files.have_changed()
    damage(folder)
    assert files.have_changed()
    files.remove()
    assert not folder.exists()


def test_files_of_a_hub_model_are_not_compared() -> None:
    files = ModelFiles()
    files.record_loaded("organisation/model")
    assert not files.have_changed()


def test_a_removed_temporary_folder_is_created_again() -> None:
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
def test_a_foreign_folder_at_the_same_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: str
) -> None:
    """After /tmp was cleared, any user can create something at the path."""
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
