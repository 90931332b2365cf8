"""Fixtures of the lane `cuda`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.models import demo_model
from tests.cuda.host import FLEETS, VENV, Host, compile_driver
from tests.demo_model import PROFILE
from tests.models.checkpoints import make_served


@pytest.fixture(scope="session", autouse=True)
def cuda_build() -> None:
    """Fail at once without vLLM's CUDA build."""
    if not (VENV / "bin" / "maritalk-serve").exists():
        pytest.fail(f"{VENV} has no maritalk-serve: `make test-cuda` installs it, or CUDA_VENV names another folder.")


@pytest.fixture(scope="session")
def drivers(nvml_library: Path) -> Path:
    """A folder with both libraries of the driver."""
    return compile_driver(nvml_library)


@pytest.fixture
def host(drivers: Path, tmp_path: Path) -> Callable[[str], Host]:
    """A host by its name in FLEETS."""

    def make(name: str) -> Host:
        assert name in FLEETS
        return Host(name, drivers, tmp_path / "initialised")

    return make


@pytest.fixture(scope="session")
def split_model(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose four attention heads four GPUs can share, with the demo model's tokenizer."""
    target = tmp_path_factory.mktemp("models") / "split"
    return make_served(target, demo_model.folder(PROFILE, prepared_cache))
