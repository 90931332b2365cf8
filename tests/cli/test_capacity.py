"""The command `maritalk-vllm plan --users`."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from maritalk_vllm.cli import tools_app
from maritalk_vllm.errors import UsageError
from tests.commands import run
from tests.tools.capacity.test_benchmark_data import LOAD
from tests.vllm_build import needs_cpu_build

PLAN_50_USERS = ("plan", "--model", "small", "--gpus", "A10", "--users", "50", "--tensor-parallel-size", "1")


def test_json_and_plot(tmp_path: Path) -> None:
    plot = tmp_path / "day.png"
    result = run("maritalk-vllm", *PLAN_50_USERS, "--json", "--plot", plot)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["fits"], found["users"], found["card"], found["cards_per_replica"]) == (True, 50, "NVIDIA A10", 1)
    assert found["cards"] == found["replicas"] == 1
    assert found["workload"]["prompt"] == 550 and found["workload"]["answer"] == 150
    assert found["busiest_hour"]["latency"]["p95"] <= 10
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_error_has_the_same_json_keys() -> None:
    fits = json.loads(run("maritalk-vllm", *PLAN_50_USERS, "--json").stdout)
    result = run("maritalk-vllm", *PLAN_50_USERS, "--json", "--latency-p95", "1s")
    assert result.returncode == 5
    found = json.loads(result.stdout)
    assert set(found) == set(fits)
    assert (found["fits"], found["cards"], found["error"]["code"]) == (False, None, "does_not_fit")
    assert found["error"]["message"] in result.stderr


def test_measured_loads_replace_the_data_sheet(tmp_path: Path) -> None:
    """A GPU on which 32 tokens took half a second for one user, and for four users at once."""
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"loads": [{**LOAD, "users": 1}, {**LOAD, "users": 4, "requests_per_second": 8.0}]}))
    result = run("maritalk-vllm", *PLAN_50_USERS, "--output", "32", "--prompt", "30", "--measured", file)
    assert result.returncode == 0, result.stderr
    assert "fitted to what was measured (--measured)" in result.stdout
    assert "data sheet" not in result.stdout


def test_a_shorter_context_on_fewer_gpus_is_considered() -> None:
    """The whole context of this model takes four A10, and a request of the load 700 tokens."""
    arguments = ("plan", "--model", "qwen3-4b", "--gpus", "A10", "--users", "10")
    result = run("maritalk-vllm", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("qwen3-4b for 10 users: 1 x NVIDIA A10, 1 replica.\n")
    context = re.search(r"^context +[\d,]+ tokens, with --max-model-len (\d+)$", result.stdout, re.MULTILINE)
    assert context is not None
    assert f"tensor parallel 1: 1 x NVIDIA A10, with --max-model-len {context[1]}\n" in result.stdout
    assert "tensor parallel 4: 4 x NVIDIA A10\n" in result.stdout, "the whole context is among the alternatives"
    with_it = run("maritalk-vllm", *arguments, "--max-model-len", context[1], "--json")
    assert json.loads(with_it.stdout)["cards"] == 1


def test_a_context_is_not_shortened_below_the_longest_request() -> None:
    arguments = ("plan", "--model", "qwen3-4b", "--gpus", "A10", "--users", "10", "--prompt", "150000", "--json")
    found = json.loads(run("maritalk-vllm", *arguments, "--latency-p95", "10min").stdout)
    assert found["cards_per_replica"] == 2
    assert found["plan"]["max_model_len"] >= 150150


@needs_cpu_build
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "--think", "5s"], "--think belongs to --users"),
        (["plan", "--plot", "day.png"], "--plot belongs to --users"),
        ([*PLAN_50_USERS, "--suggest"], "--suggest looks at what holds the model"),
        ([*PLAN_50_USERS, "--replicas", "2"], "Leave --replicas out"),
        ([*PLAN_50_USERS, "--latency-p95", "10"], "which is no time"),
        ([*PLAN_50_USERS, "--think", "5s", "--requests-per-hour", "3"], "Give one of them"),
        ([*PLAN_50_USERS, "--memory-efficiency", "1.5"], "--memory-efficiency is 1.5"),
        ([*PLAN_50_USERS, "--measured", "nowhere.json"], "cannot be read"),
        (["plan", "--users", "5", "--gpus", "A10,L4"], "cards of one kind"),
        (["plan", "--users", "5", "--gpus", "0xA10"], "cards of one kind"),
        (["plan", "--users", "5", "--device", "cpu"], "how fast a CPU is"),
        ([*PLAN_50_USERS, "--plot", "nowhere/day.png"], "cannot be written"),
    ],
)
def test_usage_errors(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        get_command(tools_app.app).main(arguments, standalone_mode=False)
    assert message in str(error.value)
