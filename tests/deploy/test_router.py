"""vLLM's real router, started as by the chart: which pods it discovers, and what it forwards.

The cluster and the servers are stand-ins; the servers echo a request as it arrives. docs/kubernetes.md describes the
results with our own server.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from tests.answering import Request, answering
from tests.deploy.chart import Document, of_example, only, rendered, template
from tests.deploy.cluster import Cluster, cluster
from tests.deploy.test_group import SHARED
from tests.serving import free_port

pytestmark = pytest.mark.deploy

ROUTED = ("--set", "router.enabled=true", "--set", "router.policy=round_robin")
NAME = "maritalk-vllm-router"
FIRST, SECOND, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
KEY = {"Authorization": "Bearer one", "X-Api-Key": "one", "X-Session-ID": "chat-1"}


def labels(documents: list[Document], kind: str, name: str = "") -> dict[str, str]:
    found: dict[str, str] = template(only(documents, kind, name))["metadata"]["labels"]
    return found


def arguments(documents: list[Document]) -> list[str]:
    found: list[str] = template(only(documents, "Deployment", NAME))["spec"]["containers"][0]["args"]
    return found


def echo(request: Request) -> None:
    """Answer with the request itself."""
    received = {
        "host": request.headers["host"].partition(":")[0],
        "path": request.path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": json.loads(getattr(request, "content", b"null") or b"null"),
    }
    request.reply(200, json.dumps(received).encode(), content_type="application/json")


@dataclass
class Routed:
    client: httpx.Client
    metrics: str
    cluster: Cluster
    process: subprocess.Popen[bytes]

    def found(self) -> set[str]:
        workers = self.client.get("/workers").json()["workers"]
        return {re.sub(r"^http://|:\d+$", "", worker["url"]) for worker in workers if worker["is_healthy"]}


def finds(routed: Routed, expected: set[str]) -> bool:
    return routed.found() == expected


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    folder = tmp_path_factory.mktemp("router")
    documents = rendered(*ROUTED, "--set", "download.enabled=true", namespace="llm")
    server, job = labels(documents, "Deployment", "maritalk-vllm"), labels(documents, "Job")
    with ExitStack() as stack:
        pods, config = stack.enter_context(cluster(folder))
        port = stack.enter_context(answering(echo, FIRST)).server_port
        for host in (SECOND, OTHER):
            stack.enter_context(answering(echo, host, port))
        pods.set_pod("first", FIRST, server)
        pods.set_pod("download", OTHER, job)
        own, metrics = free_port(), free_port()
        # The last occurrence of a flag counts; the chart's own ports may be in use.
        here = ("--host=127.0.0.1", f"--port={own}", f"--prometheus-port={metrics}", f"--service-discovery-port={port}")
        command = [sys.executable, "-m", "vllm_router.launch_router", *arguments(documents), *here]
        log = stack.enter_context((folder / "log").open("wb"))
        environment = {**os.environ, "KUBECONFIG": str(config)}
        process = stack.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        stack.callback(process.kill)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{own}", timeout=20))
        until(lambda: ready(client))
        yield Routed(client, f"http://127.0.0.1:{metrics}/metrics", pods, process)
        process.terminate()
        assert process.wait(timeout=20) == 0, (folder / "log").read_text()


def ready(client: httpx.Client) -> bool:
    """Whether the router's readiness probe succeeds."""
    (container,) = template(only(rendered(*ROUTED), "Deployment", NAME))["spec"]["containers"]
    try:
        return client.get(container["readinessProbe"]["httpGet"]["path"]).status_code == 200
    except httpx.TransportError:
        return False


def test_the_router_discovers_ready_server_pods(routed: Routed) -> None:
    server = labels(rendered(*ROUTED), "Deployment", "maritalk-vllm")
    assert routed.found() == {FIRST}
    routed.cluster.set_pod("second", SECOND, server, ready=False)
    routed.cluster.set_pod("router", OTHER, labels(rendered(*ROUTED), "Deployment", NAME))
    time.sleep(0.5)
    assert routed.found() == {FIRST}
    for state, expected in (
        ({"ready": True}, {FIRST, SECOND}),
        ({"ready": False}, {FIRST}),
        ({"ready": True}, {FIRST, SECOND}),
        ({"ending": True}, {FIRST}),
    ):
        routed.cluster.set_pod("second", SECOND, server, **state)
        until(partial(finds, routed, expected))


def test_the_router_selects_the_leader_of_a_group() -> None:
    documents = rendered(*ROUTED, *SHARED)
    selector = only(documents, "Service", "maritalk-vllm")["spec"]["selector"]
    asked = {f"{name}={value}" for name, value in selector.items()}
    assert asked <= set(arguments(documents))
    assert "leaderworkerset.sigs.k8s.io/worker-index=0" in asked


CHAT = {"messages": [{"role": "user", "content": "Olá"}], "max_tokens": 2, "model": "m"}
WHOLE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**CHAT, "tools": [], "chat_template_kwargs": {"a": 1}, "min_p": 0.1, "seed": 3},
    "/v1/completions": {"prompt": "Olá", "max_tokens": 2, "model": "m", "min_p": 0.1, "seed": 3},
}
WITHOUT_HEADERS: dict[str, dict[str, Any]] = {
    "/chat/generate": {**CHAT, "do_sample": False},
    "/api/chat/inference": {**CHAT, "do_sample": False},
    "/api/chat/completions": CHAT,
    "/v1/responses": {"model": "m", "input": "Olá"},
    "/v1/messages": CHAT,
}


def forwarded(routed: Routed, path: str, body: dict[str, Any]) -> Any:
    answer = routed.client.post(path, json=body, headers=KEY)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", WHOLE)
def test_routes_of_the_ingress_are_forwarded_with_headers(routed: Routed, path: str) -> None:
    received = forwarded(routed, path, WHOLE[path])
    assert received["path"] == path
    assert (
        KEY.items()
        <= {name.title().replace("-Id", "-ID"): value for name, value in received["headers"].items()}.items()
    )
    assert WHOLE[path].items() <= received["body"].items()


@pytest.mark.parametrize("path", WITHOUT_HEADERS)
def test_other_routes_are_forwarded_without_headers(routed: Routed, path: str) -> None:
    """True of 0.1.17. If a later version forwards keys, the page and the Ingress can be simplified."""
    received = forwarded(routed, path, WITHOUT_HEADERS[path])
    assert received["body"] == WITHOUT_HEADERS[path]
    assert not {"authorization", "x-api-key", "x-session-id"} & received["headers"].keys()


def test_generate_is_mistaken_for_another_route(routed: Routed) -> None:
    """The router drops its options, as docs/kubernetes.md warns."""
    received = forwarded(routed, "/generate", {"prompt": "Olá", "max_tokens": 2, "do_sample": False})
    assert received["body"]["prompt"] == "Olá"
    assert not {"max_tokens", "do_sample"} & received["body"].keys()


def test_the_ingress_routes_to_the_router_what_it_forwards_completely() -> None:
    documents = of_example("routed")
    (rule,) = only(documents, "Ingress")["spec"]["rules"]
    paths = {each["path"]: (each["pathType"], each["backend"]["service"]["name"]) for each in rule["http"]["paths"]}
    assert paths == {**dict.fromkeys(WHOLE, ("Exact", NAME)), "/": ("Prefix", "maritalk-vllm")}


def test_the_router_has_a_liveness_probe_and_metrics(routed: Routed) -> None:
    (container,) = template(only(rendered(*ROUTED), "Deployment", NAME))["spec"]["containers"]
    assert routed.client.get(container["livenessProbe"]["httpGet"]["path"]).status_code == 200
    forwarded(routed, "/v1/completions", WHOLE["/v1/completions"])
    assert 'vllm_router_requests_total{route="/v1/completions"}' in httpx.get(routed.metrics).text
    monitor = only(of_example("routed"), "ServiceMonitor", NAME)["spec"]
    service = only(of_example("routed"), "Service", NAME)
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_router_allows_no_other_origins(routed: Routed) -> None:
    origin = {"Origin": "https://elsewhere.example"}
    answer = routed.client.post("/v1/completions", json=WHOLE["/v1/completions"], headers=origin)
    assert "access-control-allow-origin" not in answer.headers


def test_the_router_may_only_read_pods() -> None:
    documents = of_example("routed")
    (rule,) = only(documents, "Role")["rules"]
    assert rule == {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    (subject,) = only(documents, "RoleBinding")["subjects"]
    assert subject["name"] == template(only(documents, "Deployment", NAME))["spec"]["serviceAccountName"]
    kinds = {each["kind"] for each in rendered()}
    assert not kinds & {"Role", "RoleBinding"}


def test_the_servers_metrics_are_not_scraped_from_the_router() -> None:
    """It would forward `/metrics` to an arbitrary pod."""
    documents = of_example("routed")
    wanted = only(documents, "ServiceMonitor", "maritalk-vllm")["spec"]["selector"]["matchLabels"]
    services = [each for each in documents if each["kind"] == "Service"]
    found = [each["metadata"]["name"] for each in services if wanted.items() <= each["metadata"]["labels"].items()]
    assert found == ["maritalk-vllm"]


def test_session_affinity_is_a_value() -> None:
    assert "sessionAffinity" not in only(rendered(), "Service")["spec"]
    spec = only(rendered("--set", "service.sessionAffinity=ClientIP"), "Service")["spec"]
    assert spec["sessionAffinity"] == "ClientIP"
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
