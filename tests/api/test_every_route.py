"""Each route that the documents name, asked once on the real engine: it answers with what its clients read."""

from typing import Any

import pytest

from tests.serving import Server

pytestmark = pytest.mark.core

PROMPT = {"prompt": "1 2 3", "max_tokens": 4}
CHAT = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
TIMES = {"queue_time", "prompt_time", "generation_time"}
PREFIXES = ("/v1", "/api", "/api/v1")

OF_VLLM = {
    *("/load", "/version", "/kv_event_sources", "/ping", "/invocations", "/generative_scoring", "/v1/systemone"),
    *("/scale_elastic_ep", "/is_scaling_elastic_ep", "/inference/v1/generate", "/inference/v1/abort_requests"),
    *("/v1/chat/completions/batch", "/v1/chat/completions/render", "/v1/chat/completions/derender"),
    *("/v1/completions/render", "/v1/completions/derender", "/v1/messages/render", "/v1/responses/render"),
    *("/v1/responses/{response_id}", "/v1/responses/{response_id}/cancel"),
}
"""Routes for vLLM's own operators, which no document of ours names."""

GETS = {
    "/": {"status"},
    "/api/chat/models": {"models"},
    "/openapi.json": {"openapi", "paths"},
    **{f"{prefix}/models": {"object", "data"} for prefix in PREFIXES},
}
POSTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "/generate": (PROMPT, {"output"} | TIMES),
    "/chat/generate": (CHAT, {"output"} | TIMES),
    "/api/chat/inference": (CHAT, {"answer", "usage"}),
    "/tokenize": (PROMPT, {"tokens", "count", "max_model_len"}),
    "/detokenize": ({"tokens": [33, 34]}, {"prompt"}),
}
for prefix in PREFIXES:
    POSTS |= {
        f"{prefix}/completions": (PROMPT, {"choices", "usage"}),
        f"{prefix}/chat/completions": (CHAT, {"choices", "usage"}),
        f"{prefix}/responses": ({"input": "Hello!", "max_output_tokens": 4}, {"output", "usage"}),
        f"{prefix}/messages": (CHAT, {"content", "usage"}),
        f"{prefix}/messages/count_tokens": ({"messages": CHAT["messages"]}, {"input_tokens"}),
    }
PAGES = {"/chat": b"<!doctype html>", "/docs": b"swagger", "/metrics": b"# HELP vllm:"}
PROBES = ("/livez", "/readyz", "/health")


@pytest.mark.parametrize("path", GETS)
def test_reading(shared_server: Server, path: str) -> None:
    answer = shared_server.ask(path)
    assert answer.status == 200
    assert answer.json.keys() >= GETS[path]


@pytest.mark.parametrize("path", POSTS)
def test_asking(shared_server: Server, path: str) -> None:
    body, keys = POSTS[path]
    answer = shared_server.ask(path, {"model": "demo", **body} if path not in ("/generate", "/chat/generate") else body)
    assert answer.status == 200, answer.body
    assert answer.json.keys() >= keys


@pytest.mark.parametrize("path", PAGES)
def test_pages(shared_server: Server, path: str) -> None:
    answer = shared_server.ask(path)
    assert answer.status == 200
    assert PAGES[path] in answer.body


@pytest.mark.parametrize("path", PROBES)
def test_probes(shared_server: Server, path: str) -> None:
    assert shared_server.ask(path).status == 200


def test_no_route_is_left_out(shared_server: Server) -> None:
    described = shared_server.ask("/openapi.json").json["paths"].keys()
    assert described - OF_VLLM == described & {*GETS, *POSTS, *PROBES, *PAGES}
