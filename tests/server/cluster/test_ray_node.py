"""How Ray is started on each node. A program that is called the same way stands for `ray start`, which is large."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import EngineError, UsageError
from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.cluster.coordinator import SingleNode, coordinator
from maritalk_vllm.server.cluster.ray_node import (
    ADDRESS,
    MODE,
    TOKEN,
    TOKEN_FILE,
    RayNode,
    check_ray,
    check_token,
    check_version,
    token_variable,
)
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Device, DistributedBackend, Settings
from tests.documents.pages import ROOT
from tests.server.cluster.test_compatibility import launch
from tests.serving import free_port


def group(rank: int, head: str = "10.0.0.1") -> ClusterConfig:
    return ClusterConfig(nodes=2, rank=rank, head=head, port=6379, backend=DistributedBackend.RAY)


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
            await asyncio.wait_for(running.wait_for_exit(), 10)

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
    monkeypatch.setattr("maritalk_vllm.server.cluster.ray_node.installed_ray", lambda: "2.54.0")
    monkeypatch.setenv(TOKEN, "0123456789abcdef")
    check_ray(group(1), Device.CUDA)
    monkeypatch.setenv(ADDRESS, "10.0.0.9:6379")
    check_ray(group(0), Device.CUDA)
    with pytest.raises(UsageError, match="RAY_ADDRESS names a Ray cluster"):
        check_ray(group(1), Device.CUDA)
    started = launch(tmp_path)
    assert isinstance(coordinator(group(0), started.plan, started.name, started.vllm), SingleNode)


def test_ray_is_started_with_a_token(tmp_path: Path) -> None:
    """Also where the user's environment says nothing of a mode."""
    does = f"import os\nprint(os.environ[{MODE!r}], os.environ[{TOKEN!r}])\nprint('Ray runtime started.')"
    starting = node(0, tmp_path / "log", environment={**stand_in(tmp_path, does), TOKEN: "0123456789abcdef"})

    async def scenario() -> None:
        await starting.start()
        with pytest.raises(EngineError):
            await asyncio.wait_for(starting.wait_for_exit(), 10)

    asyncio.run(scenario())
    assert (tmp_path / "log").read_text().startswith("token 0123456789abcdef\n")


def test_the_token_follows_from_the_secret_of_the_nodes(tmp_path: Path) -> None:
    """The same on each, another for another secret, none that shows it; one of the user's own goes before."""
    secrets = (b"one-secret-of-nodes", b"one-secret-of-nodes", b"another-secret-of-nodes")
    groups = [replace(group(rank % 2), secret=secret) for rank, secret in enumerate(secrets)]
    first, second, other = (token_variable(each) for each in groups)
    assert first == second != other
    check_token({**first, "HOME": "/nowhere"})
    assert "secret" not in first[TOKEN]
    environments: tuple[dict[str, str], ...] = ({}, {TOKEN: "x" * 16}, {TOKEN_FILE: "/file"})
    nodes = [RayNode(groups[0], "10.0.0.1", 4, given, tmp_path / "log") for given in environments]
    assert [each.authentication for each in nodes] == [{MODE: "token", **first}, {MODE: "token"}, {MODE: "token"}]
    assert token_variable(group(0)) == {}


def test_where_its_token_may_be(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    (tmp_path / "file").write_text(f"{token}\n")
    (tmp_path / ".ray").mkdir()
    check_token({TOKEN: token})
    check_token({TOKEN_FILE: str(tmp_path / "file"), MODE: "TOKEN"})
    with pytest.raises(UsageError, match="Ray needs a token"):
        check_token({"HOME": str(tmp_path)})
    (tmp_path / ".ray" / "auth_token").write_text(token)
    check_token({"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "Ray needs a token of at least 16 characters, the same on every node"),
        ({TOKEN: "short"}, "Ray needs a token of at least 16 characters"),
        ({TOKEN_FILE: "/nowhere"}, "Ray needs a token of at least 16 characters"),
        ({TOKEN: "0123456789abcdef", MODE: "disabled"}, "RAY_AUTH_MODE is disabled: anyone who reaches Ray's ports"),
    ],
)
def test_without_a_token_it_is_refused(environment: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_token({"HOME": "/nowhere", **environment})


def test_a_ray_with_known_holes_is_refused() -> None:
    for version in ("2.54.0", "2.60.0", "3.0.0"):
        check_version(version)
    with pytest.raises(EngineError, match=r"Ray 2\.53\.1 is older than 2\.54"):
        check_version("2.53.1")


@pytest.mark.nightly
def test_the_real_ray_lets_nobody_in_without_the_token(tmp_path: Path) -> None:
    """Its newest version, in an environment of its own: 76 MB, and a cluster of one node on the loopback."""
    python = tmp_path / "ray" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "ray"], check=True)
    install: list[str | Path] = [
        ROOT / "scripts" / "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "ray>=2.54,<3",
    ]
    subprocess.run([sys.executable, *install], check=True, timeout=600)
    port, token = free_port(), "0123456789abcdef0123456789abcdef"
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "RAY_TMPDIR": tempfile.mkdtemp(dir="/tmp")}
    environment = {**home, TOKEN: token}
    head = RayNode(replace(group(0, "127.0.0.1"), port=port), "127.0.0.1", 0, environment, tmp_path / "log")
    asks = f"import ray; ray.init(address='127.0.0.1:{port}', _node_ip_address='127.0.0.1', log_to_driver=False)"

    def joined(**environment: str) -> bool:
        asked: list[str | Path] = [python, "-c", asks]
        return subprocess.run(asked, env={**home, **environment}, capture_output=True, timeout=120).returncode == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayNode, "command", [str(python), *head.command[1:]])
        asyncio.run(head.start())
    assert head._process is not None
    try:
        assert joined(**{TOKEN: token, MODE: "token"})
        assert not joined(**{TOKEN: "another-token-altogether", MODE: "token"})
        assert not joined()
    finally:
        head._process.terminate()
        head._process.wait(60)
        shutil.rmtree(home["RAY_TMPDIR"])
