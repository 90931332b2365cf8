"""Which changes in a model's folder count as other files."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.models.model_fingerprint import FolderFingerprint

READ = {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"}
NOT_READ = {"README.md", "training_args.bin", ".gitattributes", ".hidden.json", "picture.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "checkpoint-1").mkdir(parents=True)
    for name in READ | NOT_READ | {"checkpoint-1/config.json"}:
        (folder / name).write_text("first")
        os.utime(folder / name, ns=(1, 1))
    return folder


def test_it_has_sizes_and_times_of_what_an_engine_reads(folder: Path) -> None:
    assert FolderFingerprint.of(folder).files == dict.fromkeys(READ, (5, 1))


@pytest.mark.parametrize("name", sorted(READ))
def test_each_file_that_an_engine_reads_counts(folder: Path, name: str) -> None:
    """By its size, by one nanosecond of its time, and if it is removed."""
    file = folder / name
    before = FolderFingerprint.of(folder)
    os.utime(file, ns=(1, 2))
    assert before.changed_files(before.again()) == [name]
    file.write_text("longer")
    os.utime(file, ns=(1, 1))
    assert before.changed_files(before.again()) == [name]
    file.unlink()
    assert before.changed_files(before.again()) == [name]


def use(folder: Path) -> None:
    for name in READ:
        (folder / name).read_bytes()
        os.utime(folder / name, ns=(2, 1))


def change_others(folder: Path) -> None:
    for name in NOT_READ:
        (folder / name).write_text("second")
    (folder / "checkpoint-1" / "config.json").write_text("second")


@pytest.mark.parametrize("action", [use, change_others, shutil.rmtree])
def test_reading_a_model_changing_other_files_or_removing_it_is_no_change(
    folder: Path, action: Callable[[Path], None]
) -> None:
    before = FolderFingerprint.of(folder)
    action(folder)
    assert before.changed_files(before.again()) == []


def test_added_files_count(folder: Path) -> None:
    before = FolderFingerprint.of(folder)
    for name in ("tokenizer.model", "added_tokens.json"):
        (folder / name).touch()
    assert before.changed_files(before.again()) == ["added_tokens.json", "tokenizer.model"]


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """To the files of another folder, which a path leads to later, and to single files, as in Hugging Face's cache."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "model.safetensors").unlink()
    (other / "model.safetensors").symlink_to(folder / "README.md")
    link = tmp_path / "link"
    link.symlink_to(folder)
    before = FolderFingerprint.of(link)
    link.unlink()
    link.symlink_to(other)
    assert before.changed_files(before.again()) == []
    os.utime(folder / "README.md", ns=(1, 3))
    assert before.changed_files(before.again()) == ["model.safetensors"]


def test_folders_of_two_models_are_not_compared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert FolderFingerprint.of(folder).changed_files(FolderFingerprint.of(tmp_path)) == []
