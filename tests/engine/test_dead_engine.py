"""What vLLM's own routes answer when the engine has died, by vLLM's own handlers."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from maritalk_vllm.engine.exception_mapping import answer_dead_engine

# As the other tests that import vLLM; no engine is started.
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
def test_an_error_of_the_engine_is_answered_in_vllm_s_form(client: TestClient, path: str, status: int) -> None:
    answer = client.post(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
    assert "server" not in answer.text
