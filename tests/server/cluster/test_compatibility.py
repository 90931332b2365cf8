"""What nodes have to be of one mind about, from real plans."""

from dataclasses import replace
from pathlib import Path

from maritalk_vllm.errors import DoesNotFit, UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.server.cluster.compatibility import Compatibility, compatibility, find_mismatch
from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings
from tests.planning.machines import hypothetical_machine, profile_need


def launch(tmp_path: Path, **given: object) -> Launch:
    settings = {"license": EVALUATION_KEY, "device": Device.CPU, "cache_dir": tmp_path, "nodes": 2, "head": "10.0.0.1"}
    return decide(Settings(**{**settings, **given}))  # type: ignore[arg-type]


def of_launch(launch: Launch) -> Compatibility:
    return compatibility(launch.plan, launch.name, launch.vllm)


def test_nodes_that_were_started_alike_agree(tmp_path: Path) -> None:
    head, other = launch(tmp_path), launch(tmp_path, node_rank=1, port=9100)
    assert find_mismatch(1, of_launch(other), of_launch(head)) is None
    assert head.engine_args != other.engine_args


def test_a_node_with_fewer_cards_does_not_fit(tmp_path: Path) -> None:
    def of(cards: str) -> Compatibility:
        plan = make_plan(profile_need("medium", nodes=2), hypothetical_machine(cards), Device.CUDA, Device.CUDA)
        return of_launch(replace(launch(tmp_path), plan=plan))

    error = find_mismatch(1, of("2xA10"), of("4xA10"))
    assert isinstance(error, DoesNotFit)
    assert error.message == "Node 1 does not match node 0: cards 2, not 4; tensor_parallel_size 2, not 4."
    assert find_mismatch(1, of("4xA10"), of("4xA10")) is None


def test_other_options_are_no_question_of_cards(tmp_path: Path) -> None:
    head = of_launch(launch(tmp_path))
    error = find_mismatch(1, {**head, "model": "other"}, head)
    assert isinstance(error, UsageError)
    assert "model other, not demo" in error.message
    assert isinstance(find_mismatch(1, {}, head), UsageError)
