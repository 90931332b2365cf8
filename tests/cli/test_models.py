"""The command `maritalk-vllm models`."""

import json
import os
import re
import subprocess

import pytest

from maritalk_vllm.models.catalogue import catalogue
from tests.cli.machine import Machine
from tests.commands import run
from tests.hardware.fleet import gpus
from tests.serving import BIN
from tests.vllm_build import needs_cpu_build

NO_HUB = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}


def test_every_model_is_listed_with_the_planners_result(machine: Machine) -> None:
    fleet = gpus("A10", free_mib=14_000)
    rows = {row["name"]: row for row in json.loads(machine.run("maritalk-vllm", fleet, "models", "--json").stdout)}
    assert list(rows) == list(catalogue())
    # One that fits as it is, one of which a variant fits, and one that does not fit.
    for name, fits, quantization in (("qwen3-4b", True, None), ("qwen3-8b", True, "fp8"), ("sabia-7b", False, None)):
        row, planned = rows[name], machine.plan(fleet, "--model", name)
        assert (row["fits"], row["quantization"]) == (planned["fits"], quantization) == (fits, quantization)
        assert row["where"].startswith("1 x NVIDIA A10; " if fits else f"{name} does not fit. ")
    assert rows["qwen3-0.6b"]["weights_bytes"] == pytest.approx(1_192_099_840, rel=1e-3)
    assert rows["qwen3-4b"]["smallest_gpu"] == "A10"


@needs_cpu_build
def test_on_a_cpu_no_variant_is_listed() -> None:
    result = run("maritalk-vllm", "models", "--json")
    assert result.returncode == 0, result.stderr
    for row in json.loads(result.stdout):
        assert row["quantization"] is None
        assert row["fits"] or not row["slow"]
        assert row["where"].startswith("the CPU, " if row["fits"] else f"{row['name']} needs ")


def test_text_names_its_columns_the_licences_to_accept_and_the_next_command() -> None:
    said = run("maritalk-vllm", "models").stdout
    assert re.match("name +fits here +weights +context +languages +licence\n", said)
    assert "Accept the licence on the model's page with a Hugging Face account, and set HF_TOKEN:" in said
    assert "  llama-3.2-1b: https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct" in said
    assert "A base model, which completes texts and has no chat: sabia-7b" in said
    assert said.splitlines()[-1].startswith("Serve one with: maritalk-serve --model ")


@needs_cpu_build
def test_a_model_that_is_large_for_the_cpu_is_marked_slow() -> None:
    """On one core, as any machine has."""
    core = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "--cpu-list", core, str(BIN / "maritalk-vllm"), "models"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row = re.search("^qwen3-1.7b +(.+)", said, re.MULTILINE)
    assert row is not None
    if row[1].startswith("no "):
        pytest.skip("Other programs leave too little memory.")
    assert row[1].startswith("yes, slow ")
    assert "Slow: a single user gets fewer than 5 tokens/s, by an estimate." in said


def test_plan_of_a_catalogue_name_uses_no_network() -> None:
    result = run("maritalk-vllm", "plan", "--model", "qwen3-8b", "--gpus", "1xA10", env=NO_HUB)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("qwen3-8b fits: 1 x NVIDIA A10.")
    assert "qwen3-8b is not on this machine: its size is that of its published configuration." in result.stdout
