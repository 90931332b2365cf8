"""Run all cells of examples/colab.ipynb in a real Jupyter kernel, on the CPU."""

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
"""Deadline of a cell on a busy machine."""

Cell = dict[str, Any]


def packages(client: str) -> Path:
    """The site-packages folder of a client's environment."""
    (folder,) = python(client).parent.parent.glob("lib/python*/site-packages")
    return folder


def cells(notebook: Path) -> list[Cell]:
    found: list[Cell] = json.loads(notebook.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def printed(notebook: Path) -> list[str]:
    """The output of each cell of an executed notebook."""
    return ["".join("".join(output.get("text", [])) for output in cell["outputs"]) for cell in cells(notebook)]


def test_the_notebook_is_stored_without_outputs() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(NOTEBOOK))


@pytest.mark.nightly
def test_the_notebook_runs(tmp_path: Path, prepared_cache: Path) -> None:
    """Its installation commands find everything installed, and reach no package index."""
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
