"""The method of vLLM's engine that aborts the requests of one client. test_contract has the names that it uses."""

from types import SimpleNamespace
from typing import Any

from maritalk_vllm.engine.client_aborts import _abort_client_requests


def test_the_requests_of_one_client_alone_are_aborted() -> None:
    aborted: list[list[str]] = []
    clients = {"a": 0, "b": 2, "c": 2, "d": 3}
    requests = {key: SimpleNamespace(request_id=key, client_index=client) for key, client in clients.items()}
    core: Any = SimpleNamespace(scheduler=SimpleNamespace(requests=requests), abort_requests=aborted.append)
    _abort_client_requests(core, 2)
    _abort_client_requests(core, 1)
    assert aborted == [["b", "c"]]
