"""What the tests of the published clients share."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.models import demo
from maritalk_vllm.server.launch import decide
from maritalk_vllm.settings import Settings
from tests.clients import golden
from tests.clients.redirect import redirect
from tests.demo_model import PROFILE
from tests.serving import Server


@pytest.fixture(scope="session")
def redirected(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that bring a client with a fixed address to the shared server."""
    with redirect(shared_server.port, tmp_path_factory.mktemp("authority")) as variables:
        yield variables


@pytest.fixture(scope="session")
def dtype(prepared_cache: Path) -> str:
    """What our own server would run the model in, on this processor."""
    return decide(Settings(model=str(demo.folder(PROFILE, prepared_cache)))).plan.dtype


@pytest.fixture(scope="session")
def golden_texts(prepared_cache: Path, dtype: str) -> list[str]:
    """vLLM's own answers: to each text, and last to the chat. Its engine has ended when they are here."""
    command: list[str | Path] = [sys.executable, golden.__file__, demo.folder(PROFILE, prepared_cache), dtype]
    environment = {**os.environ, "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    texts: list[str] = json.loads(result.stdout)
    assert all(texts)
    return texts
