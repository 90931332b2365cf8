"""Fixtures for the tests of the published clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import llama
from maritalk_vllm.models import demo_model
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Settings
from tests.clients.redirect import redirect
from tests.clients.vllm_server import Plugged, vllm_server
from tests.demo_model import PROFILE
from tests.serving import Server


@pytest.fixture(scope="session")
def redirected(shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables that redirect a client with a hard-coded address to the shared server."""
    with redirect(shared_server.port, tmp_path_factory.mktemp("authority")) as variables:
        yield variables


@pytest.fixture(scope="session")
def dtype(prepared_cache: Path) -> str:
    """The data type that our server chooses on this processor."""
    return decide(Settings(model=str(demo_model.folder(PROFILE, prepared_cache)))).plan.dtype


@pytest.fixture(scope="session")
def plugged(prepared_cache: Path, dtype: str, tmp_path_factory: pytest.TempPathFactory) -> Plugged:
    """The answers of vLLM's own server with our plugin, which has stopped meanwhile."""
    with vllm_server(demo_model.folder(PROFILE, prepared_cache), dtype, tmp_path_factory.mktemp("vllm")) as server:
        return Plugged.from_server(server)


@pytest.fixture(scope="session")
def golden_texts(plugged: Plugged) -> list[str]:
    """vLLM's own answers: to each text, then to the chat."""
    assert all(plugged.openai)
    return plugged.openai


@pytest.fixture(scope="package")
def one_layer_server(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our server with a model of one layer and times in seconds, for tests that need no real answers."""
    model = llama.checkpoint(
        llama.ONE_LAYER, demo_model.folder(PROFILE, prepared_cache), prepared_cache / "models" / "one-layer"
    )
    options = ("--model", str(model), "--cache-dir", str(prepared_cache), "--time-unit", "s")
    server = Server(tmp_path_factory.mktemp("one-layer"), *options)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
