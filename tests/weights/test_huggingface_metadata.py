"""Plans for remote models, with the real huggingface_hub and a hub on the loopback."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.serving import UNREACHABLE_URL
from tests.weights.published import BYTES_8B, BYTES_405B, TOKEN, Hub, published


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    with published() as server:
        yield server


def run(
    home: Path, endpoint: str, *arguments: str, program: str = "maritalk-vllm", **extra: str
) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, **extra}
    return commands.run(program, *arguments, env=env)


def plan(home: Path, endpoint: str, model: str, *arguments: str, **extra: str) -> tuple[int, dict[str, Any]]:
    result = run(home, endpoint, "plan", "--json", "--model", model, *arguments, **extra)
    assert result.stdout, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return result.returncode, found


@pytest.mark.parametrize(
    ("model", "arguments", "code", "outcome"),
    [
        # 812 GB of weights, according to its index.
        ("acme/405B", ["--gpus", "1xL4"], 5, "does_not_fit"),
        ("acme/405B", ["--gpus", "8xA100-80GB"], 5, "does_not_fit"),
        ("acme/405B", ["--gpus", "8xH200"], 0, "fits"),
        ("acme/405B", ["--gpus", "8xA100-80GB", "--", "--quantization", "fp8"], 0, "fits"),
        ("acme/405B", ["--gpus", "8xA100-80GB", "--", "-q=fp8"], 0, "fits"),
        ("acme/405B", ["--gpus", "8xA100-80GB", "--", "--load-format", "dummy"], 5, "does_not_fit"),
        ("acme/405B", ["--gpus", "8xA100-80GB", "--", "--cpu-offload-gb", "40"], 9, "not_checked"),
        ("acme/405B", ["--gpus", "8xH200", "--", "--hf-overrides", "{}"], 9, "not_checked"),
        # 16.1 GB of weights, and 17.2 GB of KV cache for 131072 tokens, half of that with fp8.
        ("acme/8B", ["--gpus", "1xL40S"], 0, "fits"),
        ("acme/8B", ["--gpus", "1xRTX-5090", "--max-model-len", "131072"], 5, "does_not_fit"),
        ("acme/8B", ["--gpus", "1xRTX-5090", "--max-model-len", "131072", "--", "--kv-cache-dtype=fp8"], 0, "fits"),
        ("acme/8B-float32", ["--gpus", "1xA10"], 0, "fits"),
        ("acme/8B-one-file", ["--gpus", "1xA10"], 0, "fits"),
        ("acme/8B-pickle", ["--gpus", "1xA4000"], 5, "does_not_fit"),
        ("acme/8B-awq", ["--gpus", "1xA4000"], 0, "fits"),
        ("acme/no-weights", ["--gpus", "1xA10"], 9, "not_checked"),
        ("acme/no-config", ["--gpus", "1xA10"], 9, "not_checked"),
        ("acme/odd", ["--gpus", "1xA10"], 9, "not_checked"),
        ("acme/gated", ["--gpus", "1xA10"], 9, "not_checked"),
    ],
)
def test_three_outcomes(model: str, arguments: list[str], code: int, outcome: str, server: Hub, tmp_path: Path) -> None:
    status, found = plan(tmp_path, server.url, model, *arguments)
    assert (status, found["outcome"]) == (code, outcome)
    assert found["fits"] == {"fits": True, "does_not_fit": False, "not_checked": None}[outcome]


@pytest.mark.parametrize(
    ("arguments", "code", "head"),
    [
        (["--gpus", "8xH200"], 0, "acme/405B fits: 8 x NVIDIA H200, tensor parallel 8."),
        (["--gpus", "1xH200"], 5, ""),
        (["--gpus", "1xH200", "--", "--cpu-offload-gb", "900"], 9, "acme/405B was not checked: 1 x NVIDIA H200."),
    ],
)
def test_each_outcome_has_a_headline(arguments: list[str], code: int, head: str, server: Hub, tmp_path: Path) -> None:
    result = run(tmp_path, server.url, "plan", "--model", "acme/405B", *arguments)
    assert (result.returncode, result.stdout.partition("\n")[0]) == (code, head)
    assert ("acme/405B does not fit. The nearest: 1 x NVIDIA H200" in result.stderr) == (code == 5)


def test_size_is_that_of_the_weights(server: Hub, tmp_path: Path) -> None:
    for model in ("acme/8B", "acme/8B-float32", "acme/8B-one-file", "acme/8B-pickle"):
        _, found = plan(tmp_path, server.url, model, "--gpus", "1xA100-80GB")
        assert found["memory"]["weights_bytes"] == pytest.approx(BYTES_8B, rel=1e-6)
        assert found["max_model_len"] == 131072
    _, found = plan(tmp_path, server.url, "acme/405B", "--gpus", "8xH200")
    assert found["memory"]["weights_bytes"] == pytest.approx(BYTES_405B, rel=1e-6)
    assert any("its size is that of its files on Hugging Face" in each for each in found["warnings"])


def test_few_requests_and_no_files(server: Hub, tmp_path: Path) -> None:
    before = len(server.requests)
    plan(tmp_path, server.url, "acme/8B", "--gpus", "1xA10")
    requests = server.requests[before:]
    assert [path for path, _ in requests] == [
        "/acme/8B/resolve/main/config.json",
        "/acme/8B/resolve/main/model.safetensors.index.json",
    ]
    assert not any("agent/" in program for _, program in requests)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_token_is_used(server: Hub, tmp_path: Path) -> None:
    code, found = plan(tmp_path, server.url, "acme/private", "--gpus", "1xA10")
    assert (code, found["error"]["code"]) == (6, "weights_error")
    code, found = plan(tmp_path, server.url, "acme/private", "--gpus", "1xA10", HF_TOKEN=TOKEN)
    assert (code, found["outcome"]) == (0, "fits")


def test_unknown_name(server: Hub, tmp_path: Path) -> None:
    code, found = plan(tmp_path, server.url, "acme/405", "--gpus", "1xA10")
    assert (code, found["outcome"]) == (6, None)
    assert "Hugging Face knows no model acme/405" in found["error"]["message"]


@pytest.mark.parametrize(
    ("endpoint", "extra"), [(UNREACHABLE_URL, {}), (None, {"HF_HUB_OFFLINE": "1"})], ids=["down", "off"]
)
def test_plan_without_the_hub_is_not_checked(
    endpoint: str | None, extra: dict[str, str], server: Hub, tmp_path: Path
) -> None:
    before = len(server.requests)
    code, found = plan(tmp_path, endpoint or server.url, "acme/405B", "--gpus", "1xL4", **extra)
    assert (code, found["outcome"], found["fits"]) == (9, "not_checked", None)
    assert found["memory"]["weights_bytes"] == 0
    assert len(server.requests) == before
    # A server start could not download it either.
    for arguments in (["--dry-run"], ["--port", "0"]):
        program = "maritalk-serve" if arguments[0] == "--dry-run" else "maritalk-vllm"
        command = [] if arguments[0] == "--dry-run" else ["doctor"]
        result = run(
            tmp_path, endpoint or server.url, *command, *arguments, "--model", "acme/8B", program=program, **extra
        )
        assert result.returncode == 6, result.stdout


def test_silent_hub_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        code, found = plan(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", "acme/8B", "--gpus", "1xL4")
        assert time.monotonic() - begun < 60
    assert (code, found["outcome"]) == (9, "not_checked")


def test_suggestions(server: Hub, tmp_path: Path) -> None:
    result = run(tmp_path, server.url, "plan", "--suggest", "--model", "acme/405B").stdout
    assert "8 x H200" in result and "1 x" not in result
    assert run(tmp_path, UNREACHABLE_URL, "plan", "--suggest", "--model", "acme/405B").returncode == 9
