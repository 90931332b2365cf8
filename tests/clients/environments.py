"""The published clients, each in a virtual environment of its own, which `make test-clients` sets up."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "clients"
SCRIPTS = Path(__file__).with_name("scripts")
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
"""No client looks elsewhere for its own lists: what it asks goes to our server alone."""


def python(client: str) -> Path:
    """The interpreter that has this client, named as its lock is: maritalk-0.2.3."""
    return FOLDER / client / "bin" / "python"


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The variables that a client sees: ours, without the machine's own proxies, whose lower case would win."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **OFFLINE, **extra}


def run(client: str, script: str, asked: dict[str, Any], variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run one of the scripts in a client's environment: it is given JSON, and what it told comes back by name."""
    result = subprocess.run(
        [python(client), SCRIPTS / f"{script}.py", json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(variables or {}),
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = {}
    for line in result.stdout.splitlines():
        told |= json.loads(line)
    return told
