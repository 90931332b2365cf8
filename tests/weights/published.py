"""A hub with the metadata of models of any size, as on Hugging Face: configurations and indices, but no weights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.answering import Request, answering

# As published with Llama 3.1.
LLAMA_405B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 16384,
    "intermediate_size": 53248,
    "num_attention_heads": 128,
    "num_key_value_heads": 8,
    "num_hidden_layers": 126,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
    "tie_word_embeddings": False,
}
LLAMA_8B: dict[str, Any] = {
    **LLAMA_405B,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
}
BYTES_405B, BYTES_8B = 811_706_851_328, 16_060_522_496
INDEX = "model.safetensors.index.json"


def index(size: object) -> dict[str, Any]:
    return {"metadata": {"total_size": size}, "weight_map": {}}


MODELS: dict[str, dict[str, Any]] = {
    "acme/405B": {"config.json": LLAMA_405B, INDEX: index(BYTES_405B)},
    "acme/8B": {"config.json": LLAMA_8B, INDEX: index(BYTES_8B)},
    "acme/8B-float32": {"config.json": {**LLAMA_8B, "torch_dtype": "float32"}, INDEX: index(2 * BYTES_8B)},
    "acme/8B-one-file": {"config.json": LLAMA_8B, "model.safetensors": BYTES_8B},
    "acme/8B-pickle": {"config.json": LLAMA_8B, "pytorch_model.bin.index.json": index(float(BYTES_8B))},
    # 5.7 GB: four bits per number, except for the two embedding tables.
    "acme/8B-awq": {"config.json": {**LLAMA_8B, "quantization_config": {"quant_method": "awq"}}, INDEX: index(5.7e9)},
    "acme/no-weights": {"config.json": LLAMA_8B},
    "acme/no-config": {INDEX: index(BYTES_8B)},
    "acme/odd": {"config.json": [], INDEX: index("much")},
    "acme/private": {"config.json": LLAMA_8B, INDEX: index(BYTES_8B)},
}
TOKEN = "hf_of_this_test"


@dataclass(frozen=True)
class Hub:
    """The hub's URL, and the requests that it received: their paths and user agents."""

    url: str
    requests: list[tuple[str, str]]


@contextmanager
def published() -> Iterator[Hub]:
    """Serve MODELS, the private one only with TOKEN. Another model is gated; all others are unknown."""

    requests: list[tuple[str, str]] = []

    def answer(request: Request) -> None:
        requests.append((request.path, request.headers["user-agent"]))
        organisation, model, *rest = request.path.strip("/").split("/")
        name, file = f"{organisation}/{model}", "/".join(rest).removeprefix("resolve/main/")
        if name == "acme/gated":
            request.reply(403, b"{}", x_error_code="GatedRepo")
        elif name == "acme/private" and request.headers.get("authorization") != f"Bearer {TOKEN}":
            request.reply(401, b"{}", x_error_code="RepoNotFound")
        elif name not in MODELS:
            request.reply(404, b"{}", x_error_code="RepoNotFound")
        elif file not in MODELS[name]:
            request.reply(404, x_error_code="EntryNotFound")
        elif isinstance(content := MODELS[name][file], int):
            assert request.command == "HEAD", "weights are not to be fetched"
            request.begin(200, etag='"0"', x_repo_commit="0" * 40, content_length=content)
        else:
            request.reply(200, json.dumps(content).encode(), content_type="application/json")

    with answering(answer) as server:
        yield Hub(server.url, requests)
