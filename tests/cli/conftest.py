"""Fixtures for the tests of the commands."""

from pathlib import Path

import pytest

from tests.cli.machine import Machine


@pytest.fixture(scope="session")
def cuda_build(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("site")
    information = folder / "vllm-0.32.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    torch = folder / "torch"
    torch.mkdir()
    (torch / "__init__.py").touch()
    (torch / "version.py").write_text("__version__ = '2.13.0+cu129'\ncuda = '12.9'\n")
    return str(folder)


@pytest.fixture
def machine(nvml_library: Path, cuda_build: str) -> Machine:
    return Machine(nvml_library, cuda_build)
