"""vLLM's resolved configuration for our flags on each host, compared with engine_configs.json, to review at upgrades.

With WRITE_ENGINE_CONFIGS=1 the tests rewrite the file, for a review of the difference.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cuda.host import Host

pytestmark = pytest.mark.cuda

FILE = Path(__file__).parent / "engine_configs.json"
GPUS = {"A100": 1, "4xA10": 4, "2xH100": 2, "B200": 1}
"""Hosts, and how many of their GPUs share the model."""


@pytest.fixture(scope="session")
def toolkits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An empty folder, and one with the programs that FlashInfer compiles with: vLLM checks whether they exist."""
    empty, full = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("cuda")
    (full / "bin").mkdir()
    for name in ("nvcc", "ninja"):
        (full / "bin" / name).write_text("#!/bin/sh\nexit 1\n")
        (full / "bin" / name).chmod(0o755)
    (full / "include").mkdir()
    (full / "include" / "curand.h").touch()
    return {"without a toolkit": empty, "with a toolkit": full}


@pytest.mark.parametrize("name", GPUS)
def test_the_engine_configuration_is_the_known_one(
    name: str, host: Callable[[str], Host], toolkits: dict[str, Path], split_model: Path
) -> None:
    """With a CUDA toolkit, vLLM takes more of FlashInfer. Where it initialises CUDA, it has to spawn its processes."""
    program = ("python", "-m", "tests.cuda.engine_config")
    made = host(name).run(*program, split_model, str(GPUS[name]), *toolkits.values())
    assert made.returncode == 0, made.stderr
    lines = [json.loads(line) for line in made.stdout.splitlines() if line.startswith("{")]
    found = {f"{name} {toolkit}": line for toolkit, line in zip(toolkits, lines, strict=True)}
    known: dict[str, Any] = json.loads(FILE.read_text())
    if os.environ.get("WRITE_ENGINE_CONFIGS"):
        FILE.write_text(json.dumps({**known, **found}, indent=1, sort_keys=True) + "\n")
    else:
        assert found == {key: known[key] for key in found}
