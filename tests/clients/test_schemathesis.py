"""Thousands of valid and invalid requests generated from our OpenAPI schema, whose responses must match it."""

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
"""Random requests for each route with a body, for each seed."""
SEEDS = int(os.environ.get("SCHEMATHESIS_SEEDS", "2"))
"""One process for each seed, all at the same time."""


def test_every_response_matches_the_schema(one_layer_server: Server, tmp_path: Path) -> None:
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
        with (folder / "report").open("wb") as report:
            seeded = [*command, "--seed", str(seed)]
            running.append(
                (folder, subprocess.Popen(seeded, stdout=report, stderr=report, env=environment, cwd=folder))
            )
    made = 0
    for folder, process in running:
        code, text = process.wait(), (folder / "report").read_text()
        assert code == 0, text[-8000:]
        generated = re.search(r"(\d+) generated", text)
        assert generated is not None
        made += int(generated[1])
    assert made > 3 * EACH * SEEDS
    note(f"schemathesis: {made} requests")
    assert "Traceback" not in server.engine_log.read_text()
    assert server.ask("/").json == {"status": "idle"}
