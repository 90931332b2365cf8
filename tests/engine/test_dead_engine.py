"""Responses of vLLM's own routes and handlers after the engine has died."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from maritalk_vllm.engine.exception_mapping import answer_dead_engine

# In the engine lane because it imports vLLM; no engine is started.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def client() -> TestClient:
    from vllm.entrypoints.serve.exception_handling.register import init_exception_handler
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    app = FastAPI()
    init_exception_handler(app)
    app.state.args = Namespace(log_error_stack=False)
    app.state.engine_client = SimpleNamespace(errored=True, is_running=False)
    answer_dead_engine(app)

    @app.post("/dead")
    async def dead() -> None:
        raise EngineDeadError

    @app.post("/failed")
    async def failed() -> None:
        raise EngineGenerateError("of this request")

    return TestClient(app)


@pytest.mark.parametrize(("path", "status"), [("/dead", 503), ("/failed", 500)])
def test_engine_error_has_vllms_form(client: TestClient, path: str, status: int) -> None:
    answer = client.post(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert "server" not in answer.text
