"""A machine with GPUs: the real pynvml, a fake driver library, and vLLM's CUDA build.

Of that build, and of torch, only the metadata is installed, which is all that a plan reads.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.commands import run
from tests.hardware.fleet import environment


class Machine:
    def __init__(self, library: Path, build: str) -> None:
        self._library, self._build = library, build

    def run(self, program: str, fleet: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        env = environment(self._library, fleet, PYTHONPATH=self._build, **more)
        return run(program, *arguments, env=env)

    def plan(self, fleet: str, *arguments: str, **more: str) -> dict[str, Any]:
        result = self.run("maritalk-vllm", fleet, "plan", "--json", *arguments, **more)
        found: dict[str, Any] = json.loads(result.stdout)
        return found
