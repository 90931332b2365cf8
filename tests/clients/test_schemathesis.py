"""Thousands of requests made of our own OpenAPI, right and wrong ones: each is answered as it says."""

import os
import re
import subprocess
from pathlib import Path

from tests.api.test_openapi import OURS
from tests.clients.environments import python
from tests.serving import Server, note

HERE = Path(__file__).parent
EACH = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "100"))
"""Random requests for each route that takes a body. `make fuzz` makes more than 5000 in all."""


def test_no_request_fails_the_server(shared_server: Server, tmp_path: Path) -> None:
    program = python("schemathesis-4.32.5").with_name("schemathesis")
    command = [program, "--config-file", HERE / "schemathesis.toml", "run"]
    command += [f"http://127.0.0.1:{shared_server.port}/openapi.json", "--phases", "examples,coverage,fuzzing"]
    # One worker: with several, CPython 3.11 may fail in ast.parse, whose depth it counts for all threads together.
    command += ["--max-examples", str(EACH), "--seed", "1", "--workers", "1", "--request-timeout", "120"]
    command += ["--continue-on-failure", "--no-color", "--output-sanitize", "false"]
    for _, path in sorted(OURS):
        command += ["--include-path", path]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "short_answers", "PYTHONPATH": str(HERE)}
    before = len(shared_server.engine_log.read_text())
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-8000:]
    generated = re.search(r"(\d+) generated", result.stdout)
    assert generated is not None
    assert int(generated[1]) > 3 * EACH
    note(f"schemathesis: {generated[1]} requests")
    assert "Traceback" not in shared_server.engine_log.read_text()[before:]
    assert shared_server.ask("/").json == {"status": "idle"}
