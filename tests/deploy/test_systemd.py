"""The unit for systemd: what systemd itself says of it, and that its environment is one that the server takes."""

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

pytestmark = pytest.mark.deploy

UNIT = ROOT / "deploy" / "systemd" / "maritalk-vllm.service"
EXAMPLE = ROOT / "deploy" / "systemd" / "environment"
PROGRAMS = "/opt/maritalk-vllm/bin"
PAGE = (ROOT / "docs" / "systemd.md").read_text()
MOST_EXPOSURE = 2.5
"""Of 10, where a unit without any of this has 9.6. What is left is the network, the GPUs, and code that is compiled."""


def of_unit(name: str) -> list[str]:
    """Each value that the unit gives this directive."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with our programs where they are here."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace(PROGRAMS, str(BIN)))
    return file


def analyze(*words: str | Path) -> str:
    result = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert analyze("verify", unit) == ""


def test_how_much_it_may(unit: Path) -> None:
    told = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for maritalk-vllm.service: ([\d.]+)", told)
    assert found is not None, told
    assert float(found[1]) < MOST_EXPOSURE


def environment(folder: Path) -> dict[str, str]:
    """What the unit's environment comes to, with systemd's own folders here."""
    folders = {"%d": folder / "credentials", "%C": folder / "cache", "%L": folder / "log"}
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


def test_the_server_takes_its_environment(tmp_path: Path) -> None:
    """The licence and the keys from their files; nothing else of ours is set, and the port may be another server's."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("MARITALK_")}
    variables = {**others, **environment(tmp_path), "MARITALK_PORT": "0"}
    (command,) = of_unit("ExecStart")
    command = command.replace(PROGRAMS, str(BIN))
    result = subprocess.run([command, "--dry-run"], env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "SmolLM2-135M-Instruct" in result.stdout
    shown = subprocess.run([BIN / "maritalk-vllm", "config", "show"], env=variables, capture_output=True, text=True)
    from_environment = {line.split()[0] for line in shown.stdout.splitlines() if line.endswith("[environment]")}
    assert from_environment == {"license", "api_key_file", "cache_dir", "log_file", "port"}


def test_the_checks_of_the_pages_have_the_options_of_the_service(tmp_path: Path) -> None:
    """A key is asked of the service's own licence service, and what is learned is in the service's own cache."""
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


def test_what_a_restart_cannot_help_is_not_restarted() -> None:
    (codes,) = of_unit("RestartPreventExitStatus")
    hopeless = (UsageError, LicenseError, NoSuitableGPU, DoesNotFit)
    assert set(map(int, codes.split())) == {error.exit_code for error in hopeless}
    assert not {str(error.exit_code) for error in (WeightsError, EngineError, PortError, Unreachable)} & set(
        codes.split()
    )


def test_a_reload_is_the_signal_that_reloads() -> None:
    assert of_unit("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_a_drain_has_its_time() -> None:
    (stop,) = of_unit("TimeoutStopSec")
    assert Settings().drain_timeout + STOP_SECONDS + 10 <= float(stop)
    named = re.search(r"^# With more than (\d+) seconds raise TimeoutStopSec", EXAMPLE.read_text(), re.MULTILINE)
    assert named is not None
    assert int(named[1]) + STOP_SECONDS < float(stop)


def test_every_line_of_the_example_is_an_option() -> None:
    known = {environment_variable(name) for name in OPTIONS}
    names = re.findall(r"^#?(MARITALK_\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert len(names) == EXAMPLE.read_text().count("MARITALK_")
    assert set(names) <= known
    assert f"EnvironmentFile=-/etc/maritalk-vllm/{EXAMPLE.name}" in UNIT.read_text().splitlines()


def test_the_page_names_what_the_unit_has() -> None:
    text = UNIT.read_text()
    for path in re.findall(r"/etc/maritalk-vllm/[\w-]+|/opt/maritalk-vllm/bin/maritalk-serve", PAGE):
        assert path in text, path
    for name in re.findall(r"deploy/systemd/([\w.-]+)", PAGE):
        assert (UNIT.parent / name).is_file(), name
    assert "/etc/systemd/system/maritalk-vllm.service" in PAGE
    for folder, directive in {"/var/cache": "CacheDirectory", "/var/log": "LogsDirectory"}.items():
        (name,) = of_unit(directive)
        assert f"`{folder}/{name}" in PAGE
