"""Which changes of files count as another model."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.models.model_fingerprint import ModelFingerprint

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


def of(*places: Path) -> ModelFingerprint:
    return ModelFingerprint.of(places)


def changed(before: ModelFingerprint) -> list[str]:
    """The files that have changed since."""
    return before.changed_files(before.again())


def test_it_has_sizes_and_times_of_what_an_engine_reads(folder: Path) -> None:
    assert of(folder).places == {folder: dict.fromkeys(READ, (5, 1))}


@pytest.mark.parametrize("name", sorted(READ))
def test_each_file_that_an_engine_reads_counts(folder: Path, name: str) -> None:
    """By its size, by one nanosecond of its time, and if it is removed."""
    file = folder / name
    before = of(folder)
    os.utime(file, ns=(1, 2))
    assert changed(before) == [name]
    file.write_text("longer")
    os.utime(file, ns=(1, 1))
    assert changed(before) == [name]
    file.unlink()
    assert changed(before) == [name]


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
    before = of(folder)
    action(folder)
    assert changed(before) == []


def test_added_files_count(folder: Path) -> None:
    before = of(folder)
    for name in ("tokenizer.model", "added_tokens.json"):
        (folder / name).touch()
    assert changed(before) == ["added_tokens.json", "tokenizer.model"]


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """To the files of another folder, which a path leads to later, and to single files, as in Hugging Face's cache."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "model.safetensors").unlink()
    (other / "model.safetensors").symlink_to(folder / "README.md")
    link = tmp_path / "link"
    link.symlink_to(folder)
    before = of(link)
    link.unlink()
    link.symlink_to(other)
    assert changed(before) == []
    os.utime(folder / "README.md", ns=(1, 3))
    assert changed(before) == ["model.safetensors"]


def test_folders_of_two_models_are_not_compared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    assert of(folder).changed_files(of(tmp_path)) == []


def test_other_places_count_with_their_paths(folder: Path, tmp_path: Path) -> None:
    """A single file of any name, and a folder that has the same names as the model's."""
    template, tokenizer = tmp_path / "template", tmp_path / "tokenizer"
    template.write_text("first")
    shutil.copytree(folder, tokenizer)
    before = of(folder, template, tokenizer)
    assert changed(before) == []
    os.utime(folder / "tokenizer.json", ns=(1, 2))
    os.utime(tokenizer / "tokenizer.json", ns=(1, 2))
    template.write_text("second")
    assert changed(before) == ["tokenizer.json", str(template), str(tokenizer / "tokenizer.json")]
    template.unlink()
    shutil.rmtree(tokenizer)
    assert changed(before) == ["tokenizer.json"]
