"""Responses of a follower, over a real socket."""

import asyncio

import httpx
import pytest

from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.loading.loading_server import LoadingServer
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.server.status.startup_timings import StartupTimings
from maritalk_vllm.settings import DistributedBackend, TimeUnit

GROUP = ClusterConfig(nodes=3, rank=2, head="10.0.0.1", port=29501, backend=DistributedBackend.MP)


async def request_async(state: ServerState, path: str, body: bytes | None = None, **more: object) -> httpx.Response:
    listener = listen("127.0.0.1", 0)
    access = AccessConfig(**more)  # type: ignore[arg-type]
    loading_server = LoadingServer(listener, access, state, StartupTimings(), TimeUnit.MILLISECONDS, GROUP)
    loading_server.start()
    url = f"{local_url(listener)}{path}"
    headers = {"Accept": "text/html"}
    async with httpx.AsyncClient(headers=headers) as client:
        response = await (client.get(url) if body is None else client.post(url, content=body))
    # The leader is expected at the port of this listener.
    response.extensions["head"] = f"http://10.0.0.1:{listener.getsockname()[1]}"
    await loading_server.stop()
    listener.close()
    return response


def request(state: ServerState, path: str, body: bytes | None = None, **more: object) -> httpx.Response:
    return asyncio.run(request_async(state, path, body, **more))


def ready() -> ServerState:
    state = ServerState()
    state.transition_to(Phase.READY)
    return state


@pytest.mark.parametrize(("state", "status"), [(ServerState(), "loading"), (ready(), "ready")])
def test_root_reports_the_rank_and_the_leaders_url(state: ServerState, status: str) -> None:
    response = request(state, "/")
    assert response.json() == {"status": status, "node": 2, "nodes": 3, "head": response.extensions["head"]}


def test_probes_report_the_state_of_the_followers_workers() -> None:
    loading = ServerState()
    loading.set_step("Waiting for node 0 at 10.0.0.1")
    assert request(loading, "/livez").status_code == 200
    response = request(loading, "/readyz")
    assert (response.status_code, response.json()["phase"]) == (503, "Waiting for node 0 at 10.0.0.1")
    assert request(ready(), "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "keys"),
    [
        ("/generate", b"{}", ("error",)),
        ("/api/chat/inference", b"{}", ("detail",)),
        ("/v1/chat/completions", b"{}", ("error", "message")),
        ("/v1/models", None, ("error", "message")),
        ("/chat", None, ("error",)),
    ],
)
def test_other_requests_get_an_error_that_names_the_leader(
    path: str, body: bytes | None, keys: tuple[str, ...]
) -> None:
    response = request(ready(), path, body)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    message = response.json()
    for key in keys:
        message = message[key]
    assert message == f"This is node 2 of 3, and node 0 answers for all. Ask {response.extensions['head']}."


def test_authentication_and_metrics_work_on_a_follower() -> None:
    assert request(ready(), "/generate", b"{}", digests=("x",)).status_code == 401
    assert "maritalk_server_state" in request(ready(), "/metrics").text
