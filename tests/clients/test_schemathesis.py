"""Thousands of requests made of our own OpenAPI, right and wrong ones: each is answered as it says."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.api.test_openapi import OURS
from tests.clients.environments import python
from tests.serving import Server, note

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
EACH = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "700"))
"""Random requests for each route that takes a body, made of each seed."""
SEEDS = int(os.environ.get("SCHEMATHESIS_SEEDS", "2"))
"""Of each, a program makes requests of its own, all at the same time."""


def test_no_request_fails_the_server(one_layer_server: Server, tmp_path: Path) -> None:
    server = one_layer_server
    program = python("schemathesis-4.32.5").with_name("schemathesis")
    command: list[str | Path] = [program, "--config-file", HERE / "schemathesis.toml", "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", "--phases", "examples,coverage,fuzzing"]
    # One worker: with several, CPython 3.11 may fail in ast.parse, whose depth it counts for all threads together.
    command += ["--max-examples", str(EACH), "--workers", "1", "--request-timeout", "120"]
    command += ["--continue-on-failure", "--no-color", "--output-sanitize", "false"]
    for _, path in sorted(OURS):
        command += ["--include-path", path]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "short_answers", "PYTHONPATH": str(HERE)}
    running = []
    for seed in range(1, SEEDS + 1):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        with (folder / "told").open("wb") as told:
            seeded = [*command, "--seed", str(seed)]
            running.append((folder, subprocess.Popen(seeded, stdout=told, stderr=told, env=environment, cwd=folder)))
    made = 0
    for folder, process in running:
        code, report = process.wait(), (folder / "told").read_text()
        assert code == 0, report[-8000:]
        generated = re.search(r"(\d+) generated", report)
        assert generated is not None
        made += int(generated[1])
    assert made > 3 * EACH * SEEDS
    note(f"schemathesis: {made} requests")
    assert "Traceback" not in server.engine_log.read_text()
    assert server.ask("/").json == {"status": "idle"}
