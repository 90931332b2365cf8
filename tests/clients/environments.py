"""The published clients, each in a virtual environment of its own, which `make test-clients` creates."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _pytest.mark import ParameterSet

from tests.lanes import nightly

FOLDER = Path(sys.prefix) / "clients"
SCRIPTS = Path(__file__).with_name("scripts")
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
"""Clients use their built-in lists, and send requests to our server only."""


DOCUMENTED = "0.2.3"
"""The version of `maritalk` in MariTalk Local's documentation."""


def some_nightly(versions: Sequence[str]) -> list[str | ParameterSet]:
    """Test the oldest, newest and documented one of these versions, oldest first, for each change; others nightly."""
    always = {versions[0], versions[-1], DOCUMENTED}
    return [version if version in always else nightly(version) for version in versions]


def python(client: str) -> Path:
    """The interpreter of this client's environment, which has the name of its lock: maritalk-0.2.3."""
    return FOLDER / client / "bin" / "python"


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The client's environment: ours without the machine's proxies, whose lower-case variables take precedence."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **OFFLINE, **extra}


def run(client: str, script: str, inputs: dict[str, Any], variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a script in a client's environment with `inputs` as JSON; return the values that it reported, by name."""
    result = subprocess.run(
        [python(client), SCRIPTS / f"{script}.py", json.dumps(inputs)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment(variables or {}),
    )
    assert result.returncode == 0, result.stderr
    reported: dict[str, Any] = {}
    for line in result.stdout.splitlines():
        reported |= json.loads(line)
    return reported
