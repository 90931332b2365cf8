"""Our routes in vLLM's own server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.models import demo
from tests.clients.answers import cloud_texts, maritalk_texts, openai_texts
from tests.clients.vllm_server import vllm_server
from tests.demo_model import PROFILE
from tests.serving import Port

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def plugged(
    golden_texts: list[str], prepared_cache: Path, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Port]:
    """vLLM's own server with our plugin; the engine that gave the golden texts has ended."""
    with vllm_server(demo.folder(PROFILE, prepared_cache), dtype, tmp_path_factory.mktemp("vllm")) as server:
        yield server


def test_vllms_own_server_speaks_maritalk(plugged: Port) -> None:
    assert plugged.ask("/").json == {"status": "idle"}
    assert plugged.ask("/api/chat/models").json == {"models": {"demo": {"context_length": 2048}}}
    answer = plugged.ask(
        "/generate", {"prompt": "1 2 3", "max_tokens": 4, "temperature": 3.0, "return_usage": True}
    ).json
    assert isinstance(answer["generation_time"], float)  # by MARITALK_TIME_UNIT
    assert answer["usage"]["completion_tokens"] <= 4
    refused = plugged.ask("/api/chat/inference", {"messages": "x", "max_tokens": 9000})
    assert (refused.status, set(refused.json)) == (400, {"detail"})
    stream = plugged.ask("/api/chat/inference", {"messages": "x", "max_tokens": 4, "stream": True}).body.decode()
    assert "\n\nevent: end\ndata: {" in stream
    documented = plugged.ask("/openapi.json").json["paths"]
    assert documented["/generate"]["post"]["requestBody"]["content"]["application/json"]["examples"]


def test_the_plugin_gives_vllms_own_answers(plugged: Port, golden_texts: list[str]) -> None:
    assert cloud_texts(plugged) == openai_texts(plugged) == golden_texts
    assert maritalk_texts(plugged) == [text.removeprefix(" ") for text in golden_texts]
