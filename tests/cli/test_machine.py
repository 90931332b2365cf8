"""A whole plan for machines with GPUs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.machine import Machine
from tests.hardware.fleet import MIG, MIG_UUIDS, UUIDS, gpus, links
from tests.models.files import model

pytestmark = pytest.mark.commands


def uuids(found: dict[str, Any]) -> list[str]:
    return [gpu["uuid"] for gpu in found["gpus"]]


def test_medium_uses_four_gpus(machine: Machine) -> None:
    found = machine.plan(gpus(*["A10"] * 4) + links(4, "40"), "--model", "medium")
    assert found["fits"]
    assert sorted(uuids(found)) == UUIDS[:4]
    assert found["tensor_parallel_size"] == 4


def test_eight_gpus_hold_two_replicas(machine: Machine) -> None:
    fleet = gpus(*["A10"] * 8) + links(4, "20")
    found = machine.plan(fleet, "--model", "medium", "--replicas", "auto")
    assert (found["tensor_parallel_size"], found["data_parallel_size"]) == (4, 2)
    # The four GPUs that share a switch form one replica.
    assert sorted(uuids(found)[:4]) == UUIDS[:4]


def test_the_nvlink_pair_is_selected(machine: Machine) -> None:
    found = machine.plan(gpus(*["A6000"] * 4) + "link 1 3 nvlink\n", "--model", "medium")
    assert sorted(uuids(found)) == [UUIDS[1], UUIDS[3]]
    assert not any("NVLink" in each for each in found["warnings"])
    assert any("Idle: 2 GPUs" in each for each in found["warnings"])


def test_mixed_gpu_types(machine: Machine) -> None:
    found = machine.plan(gpus("T4", "A10", "A100-80GB"), "--model", "medium")
    assert uuids(found) == [UUIDS[2]]
    reasons = {each["uuid"]: each["reason"] for each in found["rejected"]}
    assert "7.5" in reasons[UUIDS[0]]
    assert "another kind" in reasons[UUIDS[1]]


def test_busy_gpu_is_skipped(machine: Machine) -> None:
    fleet = gpus("A10", "A10").replace(str((23028 - 512) << 20), str(3 * 10**9), 1)
    found = machine.plan(fleet, "--model", "small")
    assert uuids(found) == [UUIDS[1]]
    alone = machine.plan(
        fleet + "process 0 compute 99 20000000000 trainer\n", "--model", "small", CUDA_VISIBLE_DEVICES="0"
    )
    assert "trainer (99) holds 20.0 GB" in alone["error"]["message"]


def test_mig_instance_has_its_own_memory(machine: Machine) -> None:
    small = machine.plan(MIG, "--model", "small", CUDA_VISIBLE_DEVICES=",".join(MIG_UUIDS[:2]))
    assert not small["fits"]
    assert "NVIDIA A100-SXM4-40GB MIG 3g.20gb has 20.0 GB" in small["error"]["message"]
    demo = machine.plan(MIG, "--model", "demo", CUDA_VISIBLE_DEVICES=",".join(MIG_UUIDS[:2]))
    assert uuids(demo) == [MIG_UUIDS[0]]
    assert demo["gpus"][0]["memory_total_bytes"] == 20 * 10**9


def test_lost_gpu(machine: Machine) -> None:
    found = machine.plan(gpus("A10", "A10") + "error nvmlDeviceGetMemoryInfo 15 0\n", "--model", "small")
    assert uuids(found) == [UUIDS[1]]
    assert "fallen off the bus" in found["rejected"][0]["reason"]


def test_a_driver_that_does_not_answer(machine: Machine) -> None:
    found = machine.plan("error nvmlInitWithFlags 999\n", "--model", "small")
    assert found["error"]["code"] == "no_suitable_gpu"
    assert "does not answer" in found["error"]["message"]


def test_cuda_visible_devices_is_respected(machine: Machine) -> None:
    fleet = gpus(*["A10"] * 3)
    found = machine.plan(fleet, "--model", "small", CUDA_VISIBLE_DEVICES=UUIDS[2])
    assert uuids(found) == [UUIDS[2]]
    assert [each["reason"] for each in found["rejected"]] == ["hidden by CUDA_VISIBLE_DEVICES"] * 2


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tensors = {
        "model.embed_tokens.weight": ("BF16", [128, 64]),
        "model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64]),
    }
    folder = model(tmp_path / "checkpoint", tensors)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_dry_run(machine: Machine, checkpoint: Path) -> None:
    result = machine.run("maritalk-serve", gpus("T4", "A10"), "--model", str(checkpoint), "--port", "0", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("checkpoint fits: 1 x NVIDIA A10.\n")
    assert "GPU 0 (Tesla T4): compute capability 7.5, 8.0 is needed" in result.stdout
    refused = machine.run(
        "maritalk-serve", gpus("A10"), "--model", str(checkpoint), "--dry-run", "--port", "0", "--replicas", "2"
    )
    assert refused.returncode == 5
    assert refused.stdout == ""


def test_all_commands_choose_the_same_variant(machine: Machine, tmp_path: Path) -> None:
    fleet = gpus("A10", free_mib=14_000)
    no_hub = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    why = "qwen3-8b:fp8 is the best that fits. qwen3-8b does not fit. The nearest: 1 x NVIDIA A10: each needs 16.4 GB"
    planned = machine.plan(fleet, "--model", "qwen3-8b", **no_hub)
    assert (planned["model"], planned["fits"]) == ("qwen3-8b:fp8", True)
    assert planned["adjustments"][0].startswith(why)

    dry = machine.run("maritalk-serve", fleet, "--model", "qwen3-8b", "--dry-run", "--port", "0", **no_hub)
    assert dry.stdout.startswith("qwen3-8b:fp8 fits: 1 x NVIDIA A10.\n"), dry.stderr
    assert why in dry.stdout

    checked = machine.run("maritalk-vllm", fleet, "doctor", "--json", "--model", "qwen3-8b", "--port", "0", **no_hub)
    messages = [check["message"] for check in json.loads(checked.stdout)["checks"]]
    assert "qwen3-8b:fp8 is not on this machine: the first start will download it." in messages
    assert planned["adjustments"][0] in messages

    listed = machine.run("maritalk-vllm", fleet, "models", "--json", **no_hub)
    (row,) = (row for row in json.loads(listed.stdout) if row["name"] == "qwen3-8b")
    assert (row["fits"], row["quantization"], row["hub_name"]) == (True, "fp8", "Qwen/Qwen3-8B-FP8")
    assert row["checkpoints"] == ["qwen3-8b:bf16", "qwen3-8b:fp8", "qwen3-8b:w4a16"]
    assert row["weights_bytes"] == planned["memory"]["weights_bytes"]
    text = machine.run("maritalk-vllm", fleet, "models", **no_hub).stdout
    assert "\nqwen3-8b:fp8: 1 x NVIDIA A10; " in text and "\nqwen3-4b: 1 x NVIDIA A10; " in text

    downloaded = machine.run("maritalk-vllm", fleet, "download", "--model", "qwen3-8b", **no_hub)
    assert (downloaded.returncode, downloaded.stdout.splitlines()[0]) == (6, planned["adjustments"][0])
    assert "Qwen/Qwen3-8B-FP8 cannot be downloaded from Hugging Face" in downloaded.stderr


def test_a_variant_that_is_named_is_used_without_a_choice(machine: Machine, tmp_path: Path) -> None:
    fleet = gpus("A10", free_mib=14_000)
    small = machine.plan(fleet, "--model", "qwen3-8b:w4a16")
    assert (small["model"], small["fits"]) == ("qwen3-8b:w4a16", True)
    assert not any("the best that fits" in each for each in small["adjustments"])
    large = machine.plan(fleet, "--model", "qwen3-8b:bf16")
    assert not large["fits"]
    assert large["error"]["message"].startswith("qwen3-8b does not fit.")
    config = tmp_path / "server.yaml"
    config.write_text("model: qwen3-8b:w4a16\n")
    assert machine.plan(fleet, "--config", str(config))["model"] == "qwen3-8b:w4a16"


def test_a_variant_on_this_machine_counts_with_the_size_of_its_files(machine: Machine, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Qwen--Qwen3-8B-FP8"
    model(repository / "snapshots" / "abc", {"model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64])})
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    cache = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = machine.plan(gpus("A10", free_mib=6_000), "--model", "qwen3-8b", **cache)
    assert (found["model"], found["memory"]["weights_bytes"]) == ("qwen3-8b:fp8", 64 * 64 * 2)
    assert not any("not on this machine" in each for each in found["warnings"])


def test_missing_weights_of_medium(machine: Machine) -> None:
    result = machine.run("maritalk-serve", gpus(*["A10"] * 4), "--model", "medium", "--dry-run", "--port", "0")
    assert result.returncode == 3
    assert "licence" in result.stderr
