"""Lines of JSON between a process of `targets.EngineProcess` and the load generator that started it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any


class ParentPipe:
    """Answers on a descriptor of its own, because vLLM writes to stdout too: from here on, that is stderr."""

    def __init__(self) -> None:
        self._answers = os.dup(1)
        os.dup2(2, 1)

    def send(self, answer: object) -> None:
        """Write to the parent."""
        os.write(self._answers, json.dumps(answer).encode() + b"\n")

    async def messages(self) -> AsyncIterator[Any]:
        """What the parent sends, until it closes the pipe."""
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            yield json.loads(line)
