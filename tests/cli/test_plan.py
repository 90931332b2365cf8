"""The command `maritalk-vllm plan`."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.commands import run
from tests.hardware.fleet import MIG, MIG_UUIDS, UUIDS, environment, gpus, links
from tests.models.files import LLAMA, model
from tests.serving import note
from tests.vllm_build import needs_cpu_build

KEYS = {
    "outcome",
    "fits",
    "model",
    "device",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "nodes",
    "gpus",
    "rejected",
    "memory",
    "gpu_memory_utilization",
    "max_model_len",
    "max_concurrency",
    "adjustments",
    "warnings",
    "split",
    "measured",
    "error",
}


def plan(*arguments: str | Path, exit_code: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    result = run("maritalk-vllm", "plan", "--json", *arguments, env=env)
    assert result.returncode == exit_code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert set(found) == KEYS
    assert found["fits"] == {0: True, 9: None}.get(exit_code, False)
    assert found["outcome"] == {0: "fits", 4: "does_not_fit", 5: "does_not_fit", 9: "not_checked"}.get(exit_code)
    return found


def test_plan_for_hypothetical_gpus() -> None:
    found = plan("--model", "medium", "--gpus", "4xA10")
    assert (found["model"], found["device"], found["error"]) == ("medium", "cuda", None)
    assert [found[f"{kind}_parallel_size"] for kind in ("tensor", "pipeline", "data")] == [4, 1, 1]
    assert found["gpus"][0] == {
        "index": 0,
        "uuid": found["gpus"][0]["uuid"],
        "name": "NVIDIA A10",
        "memory_total_bytes": 23028 << 20,
        "memory_free_bytes": (23028 - 512) << 20,
        "compute_capability": "8.6",
    }
    memory = found["memory"]
    total = memory["weights_bytes"] + memory["kv_cache_bytes"] + memory["overhead_bytes"]
    assert memory["per_gpu_bytes"] == pytest.approx(total / 4, abs=4)
    assert memory["per_gpu_bytes"] <= found["gpus"][0]["memory_free_bytes"]
    assert (found["max_model_len"], found["gpu_memory_utilization"]) == (8000, 0.92)
    assert found["max_concurrency"] > 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "says"),
    [
        (["--model", "medium", "--gpus", "1xT4"], 4, "no_suitable_gpu", "compute capability 8.0"),
        (["--model", "medium", "--gpus", "2xA10"], 5, "does_not_fit", "70.0 GB"),
        (["--model", "medium", "--gpus", "8xA10", "--tensor-parallel-size", "3"], 5, "does_not_fit", "32 attention"),
        (["--model", "small"], 4, "no_suitable_gpu", "24 GB"),
        (["--model", "."], 6, "weights_error", "config.json"),
        (["--license", "AAAAA"], 3, "license_error", "licence"),
    ],
)
def test_does_not_fit_in_json_and_text(arguments: list[str], exit_code: int, code: str, says: str) -> None:
    error = plan(*arguments, exit_code=exit_code)["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["code"] == code
    assert says in error["message"]
    result = run("maritalk-vllm", "plan", *arguments)
    assert result.returncode == exit_code
    assert result.stdout == ""
    assert result.stderr == f"maritalk-vllm: {error['message']} {error['hint']}".strip() + "\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gpus", "4xA11"], "There is no card A11"),
        (["--gpus", "many"], "There is no card many"),
        (["--replicas", "some"], "auto"),
        (["--suggest", "--gpus", "A10"], "Leave --gpus out"),
        (["--model", "mediun"], "medium"),
        (["--gpus", "2 nodes of"], "There is no card 2 nodes of"),
        (["--gpus", "2 nodes of 4xA10", "--nodes", "3"], "--gpus names 2 nodes, and --nodes says 3"),
    ],
)
def test_usage(arguments: list[str], says: str) -> None:
    for more in ([], ["--json"]):
        result = run("maritalk-vllm", "plan", *arguments, *more)
        assert result.returncode == 2
        assert result.stdout == ""
        assert says in result.stderr


@pytest.mark.parametrize("written", [["--gpus", "2 nodes of 4xA10"], ["--gpus", "4xA10", "--nodes", "2"]])
def test_plan_for_several_nodes(written: list[str]) -> None:
    found = plan("--model", "medium", *written)
    assert [found[f"{kind}_parallel_size"] for kind in ("tensor", "pipeline", "data")] == [4, 2, 1]
    assert (found["nodes"], len(found["gpus"])) == (2, 4)
    memory = found["memory"]
    total = memory["weights_bytes"] + memory["kv_cache_bytes"] + memory["overhead_bytes"]
    assert memory["per_gpu_bytes"] == pytest.approx(total / 8, abs=8)


def test_plan_as_text() -> None:
    text = run("maritalk-vllm", "plan", "--model", "medium", "--gpus", "5xA10,1xT4", "--max-model-len", "4000").stdout
    assert text.startswith(
        "MariTalk Medium fits: 4 x NVIDIA A10, tensor parallel 4.\nSplit: over 4 of 5 GPUs, the fewest that hold all "
    )
    assert "GPU 5 (Tesla T4): compute capability 7.5, 8.0 is needed" in text
    assert "GPU 4 (NVIDIA A10): not needed" in text
    assert "2 x NVIDIA A10: 48.3 GB of GPU memory, 70.0 GB are needed" in text
    assert "3 does not divide its 32 attention heads" in text
    assert "users at full context" in text
    assert "4000 tokens" in text


def test_without_a_licence_and_a_model_it_plans_the_demo_model_and_says_so() -> None:
    said = run("maritalk-vllm", "plan", "--gpus", "1xA10")
    assert said.stderr == "No licence and no model were given: this is about the demo model.\n"
    assert said.stdout.startswith("SmolLM2-135M-Instruct fits: 1 x NVIDIA A10.\n")
    assert run("maritalk-vllm", "plan", "--gpus", "1xA10", "--model", "demo").stderr == ""


def test_suggest_for_a_small_model_shows_the_rented_gpus_below_the_smallest() -> None:
    said = run("maritalk-vllm", "plan", "--suggest", "--model", "demo").stdout.splitlines()
    assert said[0] == "SmolLM2-135M-Instruct fits on these GPUs of large clouds: 1 x A10."
    assert said[-2].startswith("1 x A10 ")
    assert len(said) == 2 + 8 + 1 + 1


def test_suggest() -> None:
    suggest = ("maritalk-vllm", "plan", "--model", "medium", "--suggest")
    first, _, *rows, last = run(*suggest).stdout.splitlines()
    assert first == "MariTalk Medium fits on these GPUs of large clouds: 1 x A100-80GB, 2 x A100-40GB, 4 x A10."
    listed = {row.rsplit("  ", 1)[0].strip() for row in rows}
    assert {"1 x A100-80GB", "2 x A100-40GB", "4 x A10", "2 x A6000"} <= listed
    assert len(rows) == 4 * 8
    found = json.loads(run(*suggest, "--json").stdout)
    assert found["model"] == "medium"
    assert last == f"... and {len(found['suggestions']) - len(rows)} more: --json has all."
    offered = {each["gpus"] for each in found["suggestions"]}
    assert {"1xA100-80GB", "2xA100-40GB", "4xA10", "2xA6000"} <= offered
    for each in found["suggestions"]:
        assert plan("--model", "medium", "--gpus", each["gpus"])["pipeline_parallel_size"] == 1 or each["count"] > 4
        if each["count"] == 4:
            break


@needs_cpu_build
def test_plan_without_a_gpu() -> None:
    found = plan("--license", EVALUATION_KEY)
    if found["device"] == "cuda":
        pytest.skip("this machine has a GPU")
    assert found["model"] == "demo"
    assert found["gpus"] == []
    assert found["memory"]["per_gpu_bytes"] == 0
    assert found["max_model_len"] == 8192
    assert "serving on the CPU" in found["adjustments"][0]


@needs_cpu_build
def test_plan_with_this_machines_gpus(nvml_library: Path, tmp_path: Path) -> None:
    """Through the fake driver. The installed vLLM is the CPU build, which is the error that remains."""
    machine = environment(nvml_library, gpus("A10", "T4", "A10") + links(3, "20"))
    error = plan("--model", "small", exit_code=4, env=machine)["error"]
    assert "the installed vLLM is its CPU build" in error["message"]
    none_left = environment(nvml_library, gpus("T4"))
    found = plan("--model", "small", exit_code=4, env=none_left)
    assert "Tesla T4 (7.5)" in found["error"]["message"]
    lost = environment(nvml_library, gpus("A10", "A10") + "error nvmlDeviceGetMemoryInfo 15\n")
    found = plan("--model", "small", exit_code=4, env=lost)
    assert [each["uuid"] for each in found["rejected"]] == UUIDS[:2]
    assert "fallen off the bus" in found["rejected"][0]["reason"]
    hidden = environment(nvml_library, MIG, CUDA_VISIBLE_DEVICES="")
    found = plan("--model", "small", exit_code=4, env=hidden)
    assert [each["uuid"] for each in found["rejected"]] == [UUIDS[0], *MIG_UUIDS[:2]]


def test_truncated_weights_file_is_reported(tmp_path: Path) -> None:
    folder = model(tmp_path / "broken", {"lm_head.weight": ("BF16", [128, 64])})
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    error = plan("--model", folder, exit_code=6)["error"]
    assert str(file) in error["message"]
    assert "is cut off" in error["message"]


def test_model_in_the_hugging_face_cache(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "abc"
    model(snapshot, {"model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64])})
    (tmp_path / "hub" / "models--org--name" / "refs").mkdir()
    (tmp_path / "hub" / "models--org--name" / "refs" / "main").write_text("abc")
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    here = plan("--model", "org/name", "--gpus", "1xA10", env=env)
    assert here["memory"]["weights_bytes"] == 64 * 64 * 2
    away = plan("--model", "org/other", "--gpus", "1xA10", exit_code=9, env=env)
    assert away["max_concurrency"] is None
    assert "not whole on this machine" in away["warnings"][0]


@pytest.mark.parametrize(
    "arguments", [["plan"], ["plan", "--model", "medium", "--gpus", "8xA10"], ["plan", "--suggest"], ["doctor"]]
)
def test_processor_time(arguments: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run("maritalk-vllm", *arguments, fork=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    note(f"maritalk-vllm {' '.join(arguments)}: {seconds:.2f} s of processor time")


@pytest.mark.parametrize(
    ("flags", "exit_code", "gpus"),
    [
        ([], 5, 0),
        (["--quantization", "fp8"], 0, 4),
        (["--max-num-seqs", "8", "--max-num-batched-tokens", "512", "--enforce-eager"], 5, 0),
        (["--kv-cache-dtype", "fp8"], 5, 0),
        (["--enable-lora"], 5, 0),
        (["--speculative-config.method", "ngram"], 5, 0),
        (["--quantization", "fp8", "--enable-lora"], 9, 4),
        (["--cpu-offload-gb", "20"], 9, 4),
        (["--quantization", "bitsandbytes"], 9, 4),
    ],
)
def test_memory_flags_never_turn_a_refusal_into_a_plan_for_one_card(
    tmp_path: Path, flags: list[str], exit_code: int, gpus: int
) -> None:
    """Of Llama 70B, whose 141 GB four A10 do not hold, and whose 71 GB in FP8 they do."""
    folder = tmp_path / "l70b"
    folder.mkdir()
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    config = LLAMA | sizes | {"num_key_value_heads": 8, "vocab_size": 128256, "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    dummy = ["--load-format", "dummy", "--skip-tokenizer-init"]
    found = plan("--model", folder, "--gpus", "4xA10", "--", *dummy, *flags, exit_code=exit_code)
    assert len(found["gpus"]) == gpus
    if gpus:
        assert found["tensor_parallel_size"] * found["pipeline_parallel_size"] == gpus
