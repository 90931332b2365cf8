"""Which of the GPUs are chosen."""

from dataclasses import replace

from maritalk_vllm.hardware.interconnect import Link
from tests.planning.machines import (
    gpu_error,
    gpu_plan,
    hypothetical_machine,
    indices,
    open_need,
    parallel_sizes,
    with_free,
)


def test_identical_gpus_are_chosen_by_free_memory() -> None:
    assert indices(gpu_plan(open_need(16), with_free(hypothetical_machine("3xA10"), 21.0, 22.5, 22.0)).gpus) == [1]


def test_links_count_more_than_free_memory() -> None:
    machine = with_free(hypothetical_machine("4xA6000"), 50.0, 51.0, 50.0, 51.0)
    uuids = [gpu.uuid for gpu in machine.gpus]
    bridges = {frozenset((uuids[0], uuids[2])): Link.NVLINK, frozenset((uuids[1], uuids[3])): Link.SWITCH}
    machine = replace(machine, links={**machine.links, **bridges})
    result = gpu_plan(open_need(70), machine)
    assert sorted(indices(result.gpus)) == [0, 2]
    assert not any("NVLink" in each for each in result.warnings)


def test_ranks_of_a_group_are_connected() -> None:
    machine = hypothetical_machine("4xA6000")
    uuids = [gpu.uuid for gpu in machine.gpus]
    bridges = {frozenset((uuids[a], uuids[b])): Link.NVLINK for a, b in ((0, 2), (1, 3))}
    result = gpu_plan(open_need(70, replicas="auto"), replace(machine, links={**machine.links, **bridges}))
    assert parallel_sizes(result) == (2, 1, 2)
    assert [sorted(indices(result.gpus[at : at + 2])) for at in (0, 2)] == [[0, 2], [1, 3]]


def test_different_gpu_models_do_not_share_a_model() -> None:
    result = gpu_plan(open_need(30), hypothetical_machine("1xA10,1xL4,2xA5000"))
    assert indices(result.gpus) == [2, 3]
    assert "of another kind" in result.rejected[0].reason
    assert "The nearest: 1 x NVIDIA L4" in gpu_error(open_need(30), hypothetical_machine("1xA10,1xL4")).message
