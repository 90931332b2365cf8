"""What another node than node 0 answers, over a real socket."""

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


async def asked(state: ServerState, path: str, body: bytes | None = None, **more: object) -> httpx.Response:
    listener = listen("127.0.0.1", 0)
    access = AccessConfig(**more)  # type: ignore[arg-type]
    loading_server = LoadingServer(listener, access, state, StartupTimings(), TimeUnit.MILLISECONDS, GROUP)
    loading_server.start()
    url = f"{local_url(listener)}{path}"
    headers = {"Accept": "text/html"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await (client.get(url) if body is None else client.post(url, content=body))
    # What answers there is told its own port.
    answer.extensions["head"] = f"http://10.0.0.1:{listener.getsockname()[1]}"
    await loading_server.stop()
    listener.close()
    return answer


def ask(state: ServerState, path: str, body: bytes | None = None, **more: object) -> httpx.Response:
    return asyncio.run(asked(state, path, body, **more))


def ready() -> ServerState:
    state = ServerState()
    state.transition_to(Phase.READY)
    return state


@pytest.mark.parametrize(("state", "status"), [(ServerState(), "loading"), (ready(), "ready")])
def test_it_says_which_node_it_is_and_where_the_head_is(state: ServerState, status: str) -> None:
    answer = ask(state, "/")
    assert answer.json() == {"status": status, "node": 2, "nodes": 3, "head": answer.extensions["head"]}


def test_its_probes_are_those_of_its_part() -> None:
    loading = ServerState()
    loading.set_step("Waiting for node 0 at 10.0.0.1")
    assert ask(loading, "/livez").status_code == 200
    answer = ask(loading, "/readyz")
    assert (answer.status_code, answer.json()["phase"]) == (503, "Waiting for node 0 at 10.0.0.1")
    assert ask(ready(), "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/generate", b"{}", ("error",)),
        ("/api/chat/inference", b"{}", ("detail",)),
        ("/v1/chat/completions", b"{}", ("error", "message")),
        ("/v1/models", None, ("error", "message")),
        ("/chat", None, ("error",)),
    ],
)
def test_all_else_is_sent_to_the_head_in_the_form_of_its_api(
    path: str, body: bytes | None, where: tuple[str, ...]
) -> None:
    answer = ask(ready(), path, body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    told = answer.json()
    for name in where:
        told = told[name]
    assert told == f"This is node 2 of 3, and node 0 answers for all. Ask {answer.extensions['head']}."


def test_keys_and_metrics_are_as_everywhere() -> None:
    assert ask(ready(), "/generate", b"{}", digests=("x",)).status_code == 401
    assert "maritalk_server_state" in ask(ready(), "/metrics").text
