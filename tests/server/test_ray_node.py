"""How Ray is started on each node. A program that is called the same way stands for `ray start`, which is large."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import EngineError, UsageError
from maritalk_vllm.server.company import Alone, company
from maritalk_vllm.server.group import Group
from maritalk_vllm.server.launch import decide
from maritalk_vllm.server.ray_node import ADDRESS, RayNode, check_ray
from maritalk_vllm.settings import Device, DistributedBackend, Settings
from tests.server.test_terms import launch


def group(rank: int, head: str = "10.0.0.1") -> Group:
    return Group(nodes=2, rank=rank, head=head, port=6379, backend=DistributedBackend.RAY)


def node(rank: int, log: Path, *, head: str = "10.0.0.1", environment: dict[str, str] | None = None) -> RayNode:
    return RayNode(group(rank, head), f"10.0.0.{rank + 1}", 4, environment or {}, log)


def test_node_0_makes_the_cluster_and_the_others_join_it(tmp_path: Path) -> None:
    head, other = (" ".join(node(rank, tmp_path / "log").command) for rank in (0, 1))
    assert "--head --port 6379" in head
    assert "--node-ip-address 10.0.0.1 --num-gpus 4" in head
    assert "--address 10.0.0.1:6379 --node-ip-address 10.0.0.2 --num-gpus 4" in other
    assert "--head" not in other
    assert node(1, tmp_path / "log", head="fd00::1").address == "[fd00::1]:6379"


def stand_in(folder: Path, does: str) -> dict[str, str]:
    """An environment in which `python -m ray.scripts.scripts` does this."""
    package = folder / "ray" / "scripts"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "scripts.py").write_text(does)
    return {"PYTHONPATH": str(folder)}


def test_it_is_started_when_it_says_so_and_watched_from_then_on(tmp_path: Path) -> None:
    does = "import time\ntime.sleep(0.3)\nprint('Ray runtime started.', flush=True)\ntime.sleep(0.5)"
    running = node(0, tmp_path / "log", environment=stand_in(tmp_path, does))

    async def scenario() -> None:
        await running.start()
        with pytest.raises(EngineError, match="Ray has ended on this node"):
            await asyncio.wait_for(running.ended(), 10)

    asyncio.run(scenario())


def test_why_it_does_not_start_is_its_last_word(tmp_path: Path) -> None:
    does = "import sys\nprint('some\\n\\nConnectionError: Ray is at no such address.')\nsys.exit(1)"
    failing = node(1, tmp_path / "log", environment=stand_in(tmp_path, does))
    with pytest.raises(EngineError) as caught:
        asyncio.run(failing.start())
    assert caught.value.message == "Ray does not start: ConnectionError: Ray is at no such address."


def test_vllm_has_no_ray_on_a_cpu(tmp_path: Path) -> None:
    given = {"nodes": 2, "head": "10.0.0.1", "distributed_backend": DistributedBackend.RAY, "model": "demo"}
    with pytest.raises(EngineError, match="through Ray on GPUs alone"):
        decide(Settings(device=Device.CPU, cache_dir=tmp_path, license="000000-00000-00000-00000", **given))  # type: ignore[arg-type]


def test_ray_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        check_ray(group(0), Device.CUDA)
    assert "maritalk-vllm[ray]" in caught.value.hint


def test_a_cluster_that_is_there_wants_node_0_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_ray(group(1), Device.CUDA)
    monkeypatch.setenv(ADDRESS, "10.0.0.9:6379")
    check_ray(group(0), Device.CUDA)
    with pytest.raises(UsageError, match="RAY_ADDRESS names a Ray cluster"):
        check_ray(group(1), Device.CUDA)
    assert isinstance(company(replace(launch(tmp_path), group=group(0))), Alone)
