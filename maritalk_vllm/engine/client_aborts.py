"""Gives vLLM's engine a method that aborts all requests of one client, an API process that has died.

vLLM's own server ends when an API process dies, so its engine knows only how to abort requests by their ids, which no
other process has. It looks its methods up by name: `call_utility_async` of vLLM's client calls this one.
"""

from typing import Any

METHOD = "abort_client_requests"


def add_to_engine_core() -> None:
    """Add the method, before the engine's processes are forked."""
    from vllm.v1.engine.core import EngineCore

    setattr(EngineCore, METHOD, _abort_client_requests)


def _abort_client_requests(self: Any, client: int) -> None:  # noqa: ANN401
    requests = self.scheduler.requests.values()
    if found := [each.request_id for each in requests if each.client_index == client]:
        self.abort_requests(found)
