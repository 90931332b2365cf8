"""The plugin, which adds our routes to vLLM's own server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maritalk_vllm.models import demo_model
from tests.clients import golden
from tests.clients.vllm_server import Plugged
from tests.demo_model import PROFILE

pytestmark = pytest.mark.clients


def test_vllms_server_has_the_maritalk_routes(plugged: Plugged) -> None:
    answers = plugged.answers
    assert answers["status"].json == {"status": "idle"}
    assert answers["models"].json == {"models": {"demo": {"context_length": 2048}}}
    answer = answers["temperature 3"].json
    assert isinstance(answer["generation_time"], float)  # by MARITALK_TIME_UNIT
    assert answer["usage"]["completion_tokens"] <= 4
    rejected = answers["too long"]
    assert (rejected.status, set(rejected.json)) == (400, {"detail"})
    assert "\n\nevent: end\ndata: {" in answers["stream"].body.decode()
    documented = answers["openapi"].json["paths"]
    assert documented["/generate"]["post"]["requestBody"]["content"]["application/json"]["examples"]


def test_the_plugin_gives_vllms_own_answers(plugged: Plugged, golden_texts: list[str]) -> None:
    assert plugged.cloud == golden_texts
    assert plugged.maritalk == [text.removeprefix(" ") for text in golden_texts]


@pytest.mark.nightly
def test_vllm_without_a_server_gives_the_same_answers(
    golden_texts: list[str], prepared_cache: Path, dtype: str
) -> None:
    """In a process of its own, without our code."""
    command: list[str | Path] = [sys.executable, golden.__file__, demo_model.folder(PROFILE, prepared_cache), dtype]
    environment = {**os.environ, "VLLM_LOGGING_STREAM": "ext://sys.stderr", "VLLM_PLUGINS": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == golden_texts
