"""Comparison of the values that all nodes must agree on, from real plans."""

from dataclasses import replace
from pathlib import Path

from maritalk_vllm.errors import DoesNotFit, UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.server.cluster.compatibility import Compatibility, compatibility, find_mismatch
from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings
from tests.planning.machines import hypothetical_machine, profile_need


def launch(tmp_path: Path, **options: object) -> Launch:
    settings = {"license": EVALUATION_KEY, "device": Device.CPU, "cache_dir": tmp_path, "nodes": 2, "head": "10.0.0.1"}
    return decide(Settings(**{**settings, **options}))  # type: ignore[arg-type]


def info_of(launch: Launch) -> Compatibility:
    return compatibility(launch.plan, launch.vllm)


def test_nodes_with_the_same_options_match(tmp_path: Path) -> None:
    leader, follower = launch(tmp_path), launch(tmp_path, node_rank=1, port=9100)
    assert find_mismatch(1, info_of(follower).terms(), info_of(leader)) is None
    assert leader.engine_args != follower.engine_args


def test_different_gpus_are_reported_as_does_not_fit(tmp_path: Path) -> None:
    def info_with(gpus: str) -> Compatibility:
        plan = make_plan(profile_need("medium", nodes=2), hypothetical_machine(gpus), Device.CUDA, Device.CUDA)
        return info_of(replace(launch(tmp_path), plan=plan))

    error = find_mismatch(1, info_with("2xA10").terms(), info_with("4xA10"))
    assert isinstance(error, DoesNotFit)
    assert error.message == "Node 1 does not match node 0: cards 2, not 4; tensor_parallel_size 2, not 4."
    assert find_mismatch(1, info_with("4xA10").terms(), info_with("4xA10")) is None


def test_different_options_are_reported_as_usage_error(tmp_path: Path) -> None:
    leader = info_of(launch(tmp_path))
    error = find_mismatch(1, {**leader.terms(), "model": "other"}, leader)
    assert isinstance(error, UsageError)
    assert "model other, not demo" in error.message
    assert isinstance(find_mismatch(1, {}, leader), UsageError)


def test_nodes_that_chose_different_variants_do_not_match(tmp_path: Path) -> None:
    leader = launch(tmp_path)
    nodes = [info_of(replace(leader, plan=replace(leader.plan, model=name))) for name in ("a", "a:fp8")]
    error = find_mismatch(1, nodes[0].terms(), nodes[1])
    assert isinstance(error, UsageError)
    assert error.message == "Node 1 does not match node 0: model a, not a:fp8."


def test_terms_of_another_version_are_compared_as_far_as_they_are_known(tmp_path: Path) -> None:
    leader = info_of(launch(tmp_path))
    terms = leader.terms()
    assert find_mismatch(1, {**terms, "from_the_future": [1]}, leader) is None
    del terms["card"]
    error = find_mismatch(1, {**terms, "version": "0.0.1", "dtype": ["a"], "model": "x" * 1000}, leader)
    assert error is not None
    assert error.message == (
        f"Node 1 does not match node 0: version 0.0.1, not {leader.version}; model {'x' * 200}, not demo; "
        f"dtype list, not {leader.dtype}."
    )
