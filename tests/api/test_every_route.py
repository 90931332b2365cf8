"""One request to each documented route on the real engine: the response has the keys that clients read."""

import json
from typing import Any

import httpx
import pytest

from tests.serving import READY_SECONDS, Server, until

pytestmark = pytest.mark.core

PROMPT = {"prompt": "1 2 3", "max_tokens": 4}
CHAT = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
TIMES = {"queue_time", "prompt_time", "generation_time"}
PREFIXES = ("/v1", "/api", "/api/v1")

REMOVED = {
    "GET": (
        *("/load", "/ping", "/kv_event_sources", "/server_info", "/is_sleeping", "/is_paused", "/get_world_size"),
        *("/weight_info", "/tokenizer_info", "/fault_tolerance/status", "/v1/responses/resp_1", "/redoc"),
    ),
    "POST": (
        *("/ping", "/invocations", "/generative_scoring", "/v1/systemone", "/scale_elastic_ep", "/abort_requests"),
        *("/is_scaling_elastic_ep", "/inference/v1/generate", "/inference/v1/abort_requests", "/pause", "/resume"),
        *("/v1/chat/completions/render", "/v1/chat/completions/derender", "/v1/messages/render", "/sleep", "/wake_up"),
        *("/v1/completions/render", "/v1/completions/derender", "/v1/responses/render", "/v1/responses/resp_1/cancel"),
        *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/collective_rpc", "/update_weights"),
        *(
            "/start_profile",
            "/stop_profile",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
            "/pooling",
            "/classify",
        ),
        *("/v1/embeddings", "/score", "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank", "/fault_tolerance/apply"),
    ),
}
"""vLLM's routes that change its engine, or that our documents do not mention."""

GETS = {
    "/": {"status"},
    "/api/chat/models": {"models"},
    "/version": {"version"},
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
        f"{prefix}/chat/completions/batch": ({**CHAT, "messages": [CHAT["messages"]] * 2}, {"choices", "usage"}),
        f"{prefix}/responses": ({"input": "Hello!", "max_output_tokens": 4}, {"output", "usage"}),
        f"{prefix}/messages": (CHAT, {"content", "usage"}),
        f"{prefix}/messages/count_tokens": ({"messages": CHAT["messages"]}, {"input_tokens"}),
    }
PAGES = {"/chat": b"<!doctype html>", "/docs": b"swagger", "/metrics": b"# HELP vllm:"}
PROBES = ("/livez", "/readyz", "/health")
STORED = ("/files", "/files/{file_id}", "/files/{file_id}/content", "/batches", "/batches/{batch_id}")
STORED_PATHS = {f"{prefix}{path}" for prefix in PREFIXES for path in (*STORED, "/batches/{batch_id}/cancel")}


@pytest.mark.parametrize("path", GETS)
def test_get_returns_its_keys(shared_server: Server, path: str) -> None:
    answer = shared_server.ask(path)
    assert answer.status == 200
    assert answer.json.keys() >= GETS[path]


@pytest.mark.parametrize("path", POSTS)
def test_post_returns_its_keys(shared_server: Server, path: str) -> None:
    body, keys = POSTS[path]
    answer = shared_server.ask(path, {"model": "demo", **body} if path not in ("/generate", "/chat/generate") else body)
    assert answer.status == 200, answer.body
    assert answer.json.keys() >= keys


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_served(shared_server: Server, path: str) -> None:
    answer = shared_server.ask(path)
    assert answer.status == 200
    assert PAGES[path] in answer.body


@pytest.mark.parametrize("path", PROBES)
def test_probes_are_healthy(shared_server: Server, path: str) -> None:
    assert shared_server.ask(path).status == 200


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_batch_passes_through_every_route_of_files_and_batches(shared_server: Server, prefix: str) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/generate", "body": PROMPT}
    with httpx.Client(base_url=f"http://127.0.0.1:{shared_server.port}{prefix}") as client:

        def get(path: str) -> Any:
            return client.get(path).raise_for_status().json()

        sent = client.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", json.dumps(line).encode())})
        file = sent.raise_for_status().json()
        assert get(f"/files/{file['id']}") == file
        assert file in get("/files")["data"]
        order = {"input_file_id": file["id"], "endpoint": "/generate", "completion_window": "24h"}
        batch = client.post("/batches", json=order).raise_for_status().json()
        until(lambda: get(f"/batches/{batch['id']}")["status"] == "completed", "completed", READY_SECONDS)
        assert batch["id"] in {each["id"] for each in get("/batches")["data"]}
        output = get(f"/batches/{batch['id']}")["output_file_id"]
        result = get(f"/files/{output}/content")
        assert result["custom_id"] == "1"
        assert result["response"]["body"].keys() >= {"output"} | TIMES
        assert client.post(f"/batches/{batch['id']}/cancel").status_code == 409
        assert client.delete(f"/files/{file['id']}").json()["deleted"]
        assert client.get(f"/files/{file['id']}").status_code == 404


def test_every_route_in_openapi_is_tested(shared_server: Server) -> None:
    described = shared_server.ask("/openapi.json").json["paths"].keys()
    assert described == described & {*GETS, *POSTS, *PROBES, *PAGES, *STORED_PATHS}


def test_removed_routes_get_404(shared_server: Server) -> None:
    answers = {path: shared_server.ask(path) for path in REMOVED["GET"]}
    answers |= {path: shared_server.ask(path, {}) for path in REMOVED["POST"]}
    assert {path: answer.status for path, answer in answers.items()} == dict.fromkeys(answers, 404)
