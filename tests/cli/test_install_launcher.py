"""`maritalk-vllm install-launcher`."""

import subprocess
from pathlib import Path

from tests.cli.test_config import run_tool


def test_launcher_passes_the_clients_arguments_to_the_server(tmp_path: Path) -> None:
    result = run_tool("install-launcher", HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    launcher = tmp_path / "bin" / "maritalk"
    assert str(launcher) in result.stdout
    refused = subprocess.run([launcher, "--license", "x", "--port", "1"], capture_output=True, text=True)
    assert refused.returncode == 3
    assert refused.stderr.startswith("maritalk-serve: This licence key cannot be checked")


def test_custom_path_and_second_installation(tmp_path: Path) -> None:
    for _ in range(2):
        assert run_tool("install-launcher", "--path", str(tmp_path / "my own" / "it's")).returncode == 0
    assert [file.name for file in (tmp_path / "my own").iterdir()] == ["it's"]


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    old = tmp_path / "maritalk"
    old.write_bytes(b"\x7fELF 14 GB")
    refused = run_tool("install-launcher", "--path", str(old))
    assert refused.returncode == 2
    assert "already exists" in refused.stderr
    assert old.read_bytes() == b"\x7fELF 14 GB"
    assert run_tool("install-launcher", "--path", "/proc/nowhere/maritalk").returncode == 2
    assert run_tool("install-launcher", "--path", str(tmp_path)).returncode == 2
