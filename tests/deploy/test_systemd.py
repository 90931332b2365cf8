"""The systemd unit: systemd's own checks of it, and the server's reading of its environment."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from maritalk_vllm.errors import (
    DoesNotFit,
    EngineError,
    LicenseError,
    NoSuitableGPU,
    PortError,
    UsageError,
    WeightsError,
)
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.licensing.service_client import Unreachable
from maritalk_vllm.server.process.engine_manager import STOP_SECONDS
from maritalk_vllm.settings import OPTIONS, Settings, environment_variable
from tests.deploy.chart import ROOT
from tests.documents.pages import steps
from tests.serving import BIN
from tests.weights import archives

pytestmark = pytest.mark.deploy

UNIT = ROOT / "deploy" / "systemd" / "maritalk-vllm.service"
EXAMPLE = ROOT / "deploy" / "systemd" / "environment"
PROGRAMS = "/opt/maritalk-vllm/bin"
PAGE = (ROOT / "docs" / "systemd.md").read_text()
MAX_EXPOSURE = 2.5
"""On a scale to 10; a unit without sandboxing has 9.6. The rest: the network, the GPUs and just-in-time compilation."""


def of_unit(name: str) -> list[str]:
    """The values of a directive in the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the local path of our programs."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace(PROGRAMS, str(BIN)))
    return file


def analyze(*words: str | Path) -> str:
    result = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_systemd_verifies_the_unit(unit: Path) -> None:
    assert analyze("verify", unit) == ""


def test_the_exposure_level_is_low(unit: Path) -> None:
    report = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for maritalk-vllm.service: ([\d.]+)", report)
    assert found is not None, report
    assert float(found[1]) < MAX_EXPOSURE


def environment(folder: Path) -> dict[str, str]:
    """The environment that the unit sets, with local folders for systemd's specifiers."""
    folders = {"%d": folder / "credentials", "%C": folder / "cache", "%L": folder / "log", "%S": folder / "state"}
    for each in folders.values():
        each.mkdir()
    for credential in of_unit("LoadCredential"):
        name, _, _ = credential.partition(":")
        (folders["%d"] / name).write_text(f"{EVALUATION_KEY}\n" if name == "license" else "a-key\nanother\n")
    words = " ".join(of_unit("Environment"))
    for specifier, path in folders.items():
        words = words.replace(specifier, str(path))
    assert "%" not in words
    return dict(word.split("=", 1) for word in words.split())


def test_the_server_accepts_the_units_environment(tmp_path: Path) -> None:
    """Licence and keys come from files. The port is changed, since another server may use the default."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MARITALK_")}
    variables = {**others, **environment(tmp_path), "MARITALK_PORT": "0"}
    (command,) = of_unit("ExecStart")
    command = command.replace(PROGRAMS, str(BIN))
    result = subprocess.run([command, "--dry-run"], env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "SmolLM2-135M-Instruct" in result.stdout
    shown = subprocess.run([BIN / "maritalk-vllm", "config", "show"], env=variables, capture_output=True, text=True)
    from_environment = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith("[environment]")}
    assert from_environment == {"license", "api_key_file", "cache_dir", "data_dir", "log_file", "port"}


def test_an_open_model_starts_with_the_pages_empty_licence(tmp_path: Path) -> None:
    """systemd requires the file. The pages of the clouds write an empty line into it."""
    assert "`sudo install -m 0600 /dev/null /etc/maritalk-vllm/license`" in PAGE
    others = {name: value for name, value in os.environ.items() if not name.startswith("MARITALK_")}
    variables = {**others, **environment(tmp_path), "MARITALK_PORT": "0"}
    variables["MARITALK_MODEL"] = str(archives.model(tmp_path / "open"))
    for content in ("", "\n"):
        Path(variables["MARITALK_LICENSE"]).write_text(content)
        result = subprocess.run([BIN / "maritalk-serve", "--dry-run"], env=variables, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


def test_the_pages_checks_use_the_options_of_the_service(tmp_path: Path) -> None:
    """doctor uses the licence service and the cache of the systemd service."""
    pages = ("systemd", "google-cloud", "oracle-cloud", "nuvem-google")
    found = [step.command for page in pages for step in steps(f"docs/{page}.md") if " doctor --license" in step.command]
    assert len(found) == 5
    (command,) = {each.replace("maritalk-vllm-0.2.0", "maritalk-vllm") for each in found}
    (tmp_path / "environment").write_text("MARITALK_LICENSE_SERVICE=https://127.0.0.1:1\nMARITALK_PORT=0\n")
    (tmp_path / "license").write_text("6NK44-SZ8PR-YATKY-JMP4Z\n")
    here = {"sudo ": "", PROGRAMS: str(BIN), "/etc/maritalk-vllm": str(tmp_path), "/var/cache": str(tmp_path / "cache")}
    for there, place in here.items():
        command = command.replace(there, place)
    others = {name: value for name, value in os.environ.items() if not name.startswith("MARITALK_")}
    result = subprocess.run(["sh", "-c", command], env=others, capture_output=True, text=True)
    assert result.returncode == Unreachable.exit_code, result.stdout + result.stderr
    assert "https://127.0.0.1:1" in result.stdout
    assert "port 0 " in result.stdout
    assert (tmp_path / "cache" / "maritalk-vllm" / "clock").is_file()


def test_permanent_errors_prevent_restarts() -> None:
    (codes,) = of_unit("RestartPreventExitStatus")
    hopeless = (UsageError, LicenseError, NoSuitableGPU, DoesNotFit)
    assert set(map(int, codes.split())) == {error.exit_code for error in hopeless}
    assert not {str(error.exit_code) for error in (WeightsError, EngineError, PortError, Unreachable)} & set(
        codes.split()
    )


def test_a_reload_sends_sighup() -> None:
    assert of_unit("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_the_stop_timeout_exceeds_the_drain_timeout() -> None:
    (stop,) = of_unit("TimeoutStopSec")
    assert Settings().drain_timeout + STOP_SECONDS + 10 <= float(stop)
    named = re.search(r"^# Above (\d+) seconds, also raise TimeoutStopSec", EXAMPLE.read_text(), re.MULTILINE)
    assert named is not None
    assert int(named[1]) + 10 == float(stop) > int(named[1]) + STOP_SECONDS


def test_the_example_sets_only_known_options() -> None:
    known = {environment_variable(name) for name in OPTIONS}
    names = re.findall(r"^#?(MARITALK_\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert len(names) == EXAMPLE.read_text().count("MARITALK_")
    assert set(names) <= known
    assert f"EnvironmentFile=-/etc/maritalk-vllm/{EXAMPLE.name}" in UNIT.read_text().splitlines()


def test_the_pages_paths_are_those_of_the_unit() -> None:
    text = UNIT.read_text()
    for path in re.findall(r"/etc/maritalk-vllm/[\w-]+|/opt/maritalk-vllm/bin/maritalk-serve", PAGE):
        assert path in text, path
    for name in re.findall(r"deploy/systemd/([\w.-]+)", PAGE):
        assert (UNIT.parent / name).is_file(), name
    assert "/etc/systemd/system/maritalk-vllm.service" in PAGE
    folders = {"/var/cache": "CacheDirectory", "/var/log": "LogsDirectory", "/var/lib": "StateDirectory"}
    for folder, directive in folders.items():
        (name,) = of_unit(directive)
        assert f"`{folder}/{name}" in PAGE
