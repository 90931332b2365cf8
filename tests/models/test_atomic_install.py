"""Errors while a model is installed: of the disk a sentence, of a program itself."""

import errno
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.models.atomic_install import install_atomically, is_installed


def full_disk(target: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def missing_folder(target: Path) -> None:
    """The library is written in Rust: its error is no OSError."""
    save_file({"weight": numpy.zeros(3)}, target / "model.safetensors")


@pytest.mark.parametrize(
    ("fill", "reason"), [(full_disk, "No space left on device"), (missing_folder, "No such file or directory")]
)
def test_an_error_of_the_disk_is_a_sentence(tmp_path: Path, fill: object, reason: str) -> None:
    with pytest.raises(WeightsError, match=f"^Tiny cannot be written to {tmp_path}: {reason}\\."):
        install_atomically(tmp_path / "tiny", fill, "Tiny")  # type: ignore[arg-type]
    assert not is_installed(tmp_path / "tiny")


def test_another_error_is_not_taken_for_one_of_the_disk(tmp_path: Path) -> None:
    def fill(target: Path) -> None:
        raise KeyError("a bug in what reads (os error 28)")

    with pytest.raises(KeyError):
        install_atomically(tmp_path / "tiny", fill, "Tiny")
    assert not is_installed(tmp_path / "tiny")
