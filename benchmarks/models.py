"""Models of the benchmarks, created on first use."""

import multiprocessing
from pathlib import Path

import platformdirs

from maritalk_vllm.models import demo_model
from maritalk_vllm.models.profile import find
from maritalk_vllm.settings import Device

from . import llama, null_engine
from .subject import Engine, Subject

SIZES = {
    "one-layer": llama.ONE_LAYER,
    "sharded": llama.SHARDED,
    "shapes/small": llama.SMALL,
    "shapes/medium": llama.MEDIUM,
}


def subject(name: str, device: Device, engine: Engine = Engine.REAL) -> Subject:
    """A model by name, ready to be served. Raises RuntimeError."""
    folder = find_or_make(name, platformdirs.user_cache_path("maritalk-vllm"))
    dummy_weights = not any(folder.glob("*.safetensors"))
    flags = ("--load-format", "dummy") if dummy_weights else ()
    return Subject(folder, device, flags=(*flags, *null_engine.flags()) if engine is Engine.NULL else flags)


def find_or_make(name: str, cache: Path) -> Path:
    """The folder of a model: `demo`, one of `SIZES`, or a folder by itself.

    torch is imported in a child process, which keeps the benchmark's own process small. Raises RuntimeError.
    """
    if Path(name).is_dir():
        return Path(name)
    profile = find("demo")
    assert profile is not None
    folder = demo_model.folder(profile, cache) if name == "demo" else cache / "models" / name.replace("/", "-")
    if not folder.is_dir():
        process = multiprocessing.get_context("spawn").Process(target=_make, args=(name, folder, cache))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError(f"{name} could not be made.")
    return folder


def _make(name: str, folder: Path, cache: Path) -> None:
    profile = find("demo")
    assert profile is not None and profile.embedded is not None
    tokenizer = demo_model.folder(profile, cache)
    demo_model.materialise(profile.embedded, tokenizer, lambda step, fraction: None)
    if name in SIZES:
        llama.checkpoint(SIZES[name], tokenizer, folder)
