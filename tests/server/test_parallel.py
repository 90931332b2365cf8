"""Tensor parallelism and replicas on the real engine: two workers on the CPU, started from a plan."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from maritalk_vllm.models import demo_model
from tests.demo_model import PROFILE
from tests.models.checkpoints import make_served
from tests.server.test_stop import assert_nothing_left, assert_shared_memory_is_freed, shared_memory
from tests.serving import BIN, Server, note


@pytest.fixture(scope="module")
def model(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose attention heads two workers can share."""
    target = tmp_path_factory.mktemp("models") / "two-by-two"
    return make_served(target, demo_model.folder(PROFILE, prepared_cache))


@pytest.mark.engine
@pytest.mark.parametrize(
    ("flag", "replicas", "title"),
    [
        ("--tensor-parallel-size", 1, "VLLM::Worker"),
        pytest.param("--replicas", 2, "VLLM::EngineCore", marks=pytest.mark.nightly),
    ],
)
def test_two_workers_serve_with_the_planned_cache(
    tmp_path: Path, model: Path, flag: str, replicas: int, title: str
) -> None:
    command: list[str | Path] = [BIN / "maritalk-vllm", "plan", "--model", model, flag, "2", "--json"]
    plan = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (plan["tensor_parallel_size"], plan["data_parallel_size"]) == (2 // replicas, replicas)

    before = shared_memory()
    server = Server(tmp_path, "--model", str(model), flag, "2", "--log-file", str(tmp_path / "log"))
    try:
        server.wait_until_ready()
        answer = server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 5, "do_sample": False})
        assert answer.status == 200
        assert answer.json["output"]
        assert sum(command.startswith(title) for command in server.processes().values()) == 2
    finally:
        server.stop()
    assert server.process.returncode == 0
    assert_nothing_left(server)
    assert_shared_memory_is_freed(before)

    logged = re.findall(
        r"Maximum concurrency for ([\d,]+) tokens per request: ([\d.]+)x", (tmp_path / "log").read_text()
    )
    assert {int(length.replace(",", "")) for length, _ in logged} == {plan["max_model_len"]}
    found = sum(float(users) for _, users in logged)
    note(f"{flag} 2: planned for {plan['max_concurrency']:.1f} users, vLLM found room for {found:.1f}")
    # Other processes may allocate or free memory between planning and start, which changes the cache a little.
    assert found == pytest.approx(plan["max_concurrency"], rel=0.1)
