"""Number of API processes for a plan."""

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.planning.api_process_count import api_process_count
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.settings import Device

CPU = Plan(model="m", title="M", device=Device.CPU, dtype="float32", data_parallel_size=4)
ONE = Plan(model="m", title="M", device=Device.CUDA, dtype="bfloat16")
FOUR = Plan(model="m", title="M", device=Device.CUDA, dtype="bfloat16", data_parallel_size=4)
GROUP = Plan(model="m", title="M", device=Device.CUDA, dtype="bfloat16", nodes=2)


@pytest.mark.parametrize(
    ("plan", "cores", "expected"),
    [(CPU, 64, 1), (ONE, 64, 1), (FOUR, 64, 4), (FOUR, 16, 2), (FOUR, 2, 1), (GROUP, 64, 1)],
)
def test_auto_starts_one_for_each_replica_where_there_are_cores(plan: Plan, cores: int, expected: int) -> None:
    assert api_process_count("auto", plan, cores, {}) == expected


def test_a_number_is_taken_as_it_is() -> None:
    assert api_process_count("3", CPU, 2, {"VLLM_ENABLE_RESPONSES_API_STORE": "0"}) == 3
    assert api_process_count("1", GROUP, 2, {}) == 1


@pytest.mark.parametrize("text", ["0", "-1", "65", "two", ""])
def test_nothing_but_a_number_or_auto_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=f"--api-processes is {text!r}."):
        api_process_count(text, CPU, 2, {})


def test_several_are_rejected_where_a_process_has_what_another_one_needs() -> None:
    with pytest.raises(UsageError, match="--api-processes 2 does not work with --nodes"):
        api_process_count("2", GROUP, 64, {})
    for name in ("VLLM_ENABLE_RESPONSES_API_STORE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        with pytest.raises(UsageError, match=f"--api-processes 2 does not work with {name}."):
            api_process_count("2", ONE, 64, {name: "1"})
        assert api_process_count("auto", FOUR, 64, {name: "1"}) == 1
