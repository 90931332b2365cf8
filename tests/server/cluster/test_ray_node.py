"""Start of Ray on each node. A small program with the same module name stands for `ray start`, which is large."""

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


def test_leader_creates_the_cluster_and_followers_join_it(tmp_path: Path) -> None:
    leader, follower = (" ".join(node(rank, tmp_path / "log").command) for rank in (0, 1))
    assert "--head --port 6379" in leader
    assert "--node-ip-address 10.0.0.1 --num-gpus 4" in leader
    assert "--address 10.0.0.1:6379 --node-ip-address 10.0.0.2 --num-gpus 4" in follower
    assert "--head" not in follower
    assert node(1, tmp_path / "log", head="fd00::1").address == "[fd00::1]:6379"


def fake_ray(folder: Path, program: str) -> dict[str, str]:
    """Return an environment in which `python -m ray.scripts.scripts` runs `program`."""
    package = folder / "ray" / "scripts"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "scripts.py").write_text(program)
    return {"PYTHONPATH": str(folder)}


def test_start_waits_for_rays_message_and_an_exit_is_detected(tmp_path: Path) -> None:
    program = "import time\ntime.sleep(0.3)\nprint('Ray runtime started.', flush=True)\ntime.sleep(0.5)"
    running = node(0, tmp_path / "log", environment=fake_ray(tmp_path, program))

    async def scenario() -> None:
        await running.start()
        with pytest.raises(EngineError, match="Ray has ended on this node"):
            await asyncio.wait_for(running.wait_for_exit(), 10)

    asyncio.run(scenario())


def test_last_line_of_the_log_is_the_reason_of_a_failed_start(tmp_path: Path) -> None:
    program = "import sys\nprint('some\\n\\nConnectionError: Ray is at no such address.')\nsys.exit(1)"
    failing = node(1, tmp_path / "log", environment=fake_ray(tmp_path, program))
    with pytest.raises(EngineError) as caught:
        asyncio.run(failing.start())
    assert caught.value.message == "Ray does not start: ConnectionError: Ray is at no such address."


def test_ray_on_a_cpu_is_rejected(tmp_path: Path) -> None:
    given = {"nodes": 2, "head": "10.0.0.1", "distributed_backend": DistributedBackend.RAY, "model": "demo"}
    with pytest.raises(EngineError, match="through Ray on GPUs alone"):
        decide(Settings(device=Device.CPU, cache_dir=tmp_path, license="000000-00000-00000-00000", **given))  # type: ignore[arg-type]


def test_missing_ray_is_reported_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        check_ray(group(0), Device.CUDA)
    assert 'pip install ".[ray]"' in caught.value.hint


def test_follower_is_rejected_in_an_existing_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("maritalk_vllm.server.cluster.ray_node.installed_ray", lambda: "2.54.0")
    monkeypatch.setenv(TOKEN, "0123456789abcdef")
    check_ray(group(1), Device.CUDA)
    monkeypatch.setenv(ADDRESS, "10.0.0.9:6379")
    check_ray(group(0), Device.CUDA)
    with pytest.raises(UsageError, match="RAY_ADDRESS names a Ray cluster"):
        check_ray(group(1), Device.CUDA)
    resolved = launch(tmp_path)
    assert isinstance(coordinator(group(0), resolved.plan, resolved.vllm), SingleNode)


def test_ray_is_started_with_token_authentication(tmp_path: Path) -> None:
    """Also if the user's environment sets no mode."""
    program = f"import os\nprint(os.environ[{MODE!r}], os.environ[{TOKEN!r}])\nprint('Ray runtime started.')"
    starting = node(0, tmp_path / "log", environment={**fake_ray(tmp_path, program), TOKEN: "0123456789abcdef"})

    async def scenario() -> None:
        await starting.start()
        with pytest.raises(EngineError):
            await asyncio.wait_for(starting.wait_for_exit(), 10)

    asyncio.run(scenario())
    assert (tmp_path / "log").read_text().startswith("token 0123456789abcdef\n")


def test_token_is_derived_from_the_secret_of_the_nodes(tmp_path: Path) -> None:
    """It is the same on each node, differs for another secret and does not reveal it. A user's token overrides it."""
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


def test_token_is_accepted_from_variable_file_and_home(tmp_path: Path) -> None:
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
    ("environment", "message"),
    [
        ({}, "Ray needs a token of at least 16 characters, the same on every node"),
        ({TOKEN: "short"}, "Ray needs a token of at least 16 characters"),
        ({TOKEN_FILE: "/nowhere"}, "Ray needs a token of at least 16 characters"),
        ({TOKEN: "0123456789abcdef", MODE: "disabled"}, "RAY_AUTH_MODE is disabled: anyone who reaches Ray's ports"),
    ],
)
def test_missing_or_disabled_token_is_rejected(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_token({"HOME": "/nowhere", **environment})


def test_vulnerable_ray_is_rejected() -> None:
    for version in ("2.54.0", "2.60.0", "3.0.0"):
        check_version(version)
    with pytest.raises(EngineError, match=r"Ray 2\.53\.1 is older than 2\.54"):
        check_version("2.53.1")


@pytest.mark.nightly
def test_real_ray_rejects_clients_without_the_token(tmp_path: Path) -> None:
    """The newest Ray, in a virtual environment of its own (76 MB), with a cluster of one node on the loopback."""
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
    leader = RayNode(replace(group(0, "127.0.0.1"), port=port), "127.0.0.1", 0, environment, tmp_path / "log")
    client = f"import ray; ray.init(address='127.0.0.1:{port}', _node_ip_address='127.0.0.1', log_to_driver=False)"

    def can_connect(**environment: str) -> bool:
        command: list[str | Path] = [python, "-c", client]
        return subprocess.run(command, env={**home, **environment}, capture_output=True, timeout=120).returncode == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayNode, "command", [str(python), *leader.command[1:]])
        asyncio.run(leader.start())
    assert leader._process is not None
    try:
        assert can_connect(**{TOKEN: token, MODE: "token"})
        assert not can_connect(**{TOKEN: "another-token-altogether", MODE: "token"})
        assert not can_connect()
    finally:
        leader._process.terminate()
        leader._process.wait(60)
        shutil.rmtree(home["RAY_TMPDIR"])
