"""examples/colab.ipynb from its first cell to its last, in a real Jupyter kernel: the same cells, on the CPU."""

import json
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import environment, python
from tests.serving import BIN, free_port, marked_processes, note

pytestmark = pytest.mark.clients

NOTEBOOK = Path(__file__).parent.parent.parent / "examples" / "colab.ipynb"
CLIENTS = ("maritalk-0.3.2", "openai-3.54.0")
SECONDS = 240
"""Longest for one cell, on a machine that is busy with other work."""

Cell = dict[str, Any]


def packages(client: str) -> Path:
    """Where the environment of a client has it, and what it needs."""
    (folder,) = python(client).parent.parent.glob("lib/python*/site-packages")
    return folder


def cells(notebook: Path) -> list[Cell]:
    found: list[Cell] = json.loads(notebook.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def printed(notebook: Path) -> list[str]:
    """What each cell of a notebook that was run has printed."""
    return ["".join("".join(output.get("text", [])) for output in cell["outputs"]) for cell in cells(notebook)]


def test_no_outputs_are_kept() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(NOTEBOOK))


def test_it_runs(tmp_path: Path, prepared_cache: Path) -> None:
    """Nothing is installed on the way: the programs and the clients are there, and no index would be asked."""
    notebook, mark = Path(shutil.copy(NOTEBOOK, tmp_path)), uuid.uuid4().hex
    variables = {
        "MARITALK_CACHE_DIR": str(prepared_cache),
        "MARITALK_PORT": str(free_port()),
        "SERVER_UNDER_TEST": mark,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": ":".join(map(str, map(packages, CLIENTS))),
        "SPT_NOENV": "1",
        "UV_OFFLINE": "1",
    }
    command: list[str | Path] = [python("notebook"), "-m", "pytest", "-c", os.devnull, "--rootdir", tmp_path]
    command += ["-p", "no:cacheprovider", "--nbmake", f"--nbmake-timeout={SECONDS}", "--overwrite", notebook]
    try:
        result = subprocess.run(
            command, cwd=tmp_path, env=environment(variables), capture_output=True, text=True, timeout=2 * SECONDS
        )
        assert result.returncode == 0, result.stdout + result.stderr
        *_, by_maritalk, by_openai, batch, end = printed(notebook)
        assert "Tokyo" in by_maritalk
        assert "Tokyo" in by_openai
        assert end == "Ended with 0\n"
        assert marked_processes(mark) == {}
        note(f"the notebook's batch, {batch.strip()}")
    finally:
        for pid in marked_processes(mark):
            os.kill(pid, signal.SIGKILL)
