"""From an empty home to an answer with the published client, which downloads its executable and runs it.

Our licence service answers for https://functions.maritaca.ai, which client and server have hard-coded. A fake
nvidia-smi and a fake libnvidia-ml.so.1 stand in for the driver.
"""

import os
import re
import signal
import subprocess
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from maritalk_vllm.models import demo_model
from tests.cli.test_config import run_tool
from tests.clients.environments import environment, python
from tests.clients.questions import MESSAGES
from tests.clients.redirect import LICENSES, redirect
from tests.demo_model import PROFILE
from tests.hardware import fleet
from tests.serving import BIN, READY_SECONDS, Port, free_port, marked_processes
from tests.tools.license_server.running import Running

pytestmark = pytest.mark.clients

NVIDIA_SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) echo "name, compute_cap"; echo "NVIDIA A10, 8.6" ;;
*) echo "| NVIDIA-SMI 535.104.05   Driver Version: 535.104.05   CUDA Version: 12.2 |" ;;
esac
"""
STOP_SECONDS = 10


@pytest.fixture(scope="module")
def service(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A licence service with the demo model's weights and the launcher for the client."""
    folder = tmp_path_factory.mktemp("service")
    with tarfile.open(folder / "demo.tar", "w") as archive:
        archive.add(demo_model.folder(PROFILE, prepared_cache), "demo")
    with Running(folder, "--public-url", f"https://{LICENSES}") as running:
        license(running, "add-weights", "--model", "demo", str(folder / "demo.tar"))
        yield running


def license(service: Running, *arguments: str) -> str:
    result = run_tool("license", *arguments, "--database", str(service.file))
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture
def key(service: Running) -> str:
    return license(service, "add-key", "--model", "demo")


@pytest.fixture
def home(service: Running, nvml_library: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a user with an empty home, whose licence requests are redirected to the service."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(NVIDIA_SMI)
    (tools / "nvidia-smi").chmod(0o755)
    (tmp_path / "home").mkdir()
    driver = fleet.environment(nvml_library, fleet.gpus("A10"))
    with redirect(urlsplit(service.url).port or 0, tmp_path, LICENSES) as variables:
        yield {
            **variables,
            "HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "home" / ".cache"),
            "PATH": f"{tools}:{BIN}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": driver["LD_LIBRARY_PATH"],
            "FAKE_NVML_FLEET": driver["FAKE_NVML_FLEET"],
            "MARITALK_DEVICE": "cpu",
        }


def client(version: str, module: str, *arguments: str) -> list[str | Path]:
    return [python(f"maritalk-{version}"), "-u", "-m", f"maritalk.{module}", *arguments]


def surroundings(home: dict[str, str]) -> dict[str, str]:
    # Without the address that isolates other tests: the launcher passes the service's address to the server.
    return {name: value for name, value in environment(home).items() if name != "MARITALK_LICENSE_SERVICE"}


@pytest.mark.parametrize("version", ["0.2.5", "0.3.2"])
def test_the_client_downloads_the_launcher(version: str, key: str, home: dict[str, str]) -> None:
    command = client(version, "download", "--license", key)
    result = subprocess.run(command, env=surroundings(home), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Downloading MariTalk-demo" in result.stdout
    launcher = Path(home["HOME"]) / "bin" / "maritalk"
    assert os.access(launcher, os.X_OK)
    printed = subprocess.run([launcher, "--version"], env=surroundings(home), capture_output=True, text=True)
    assert printed.stdout.startswith("maritalk-serve ")


def test_a_wrong_key_is_rejected(home: dict[str, str]) -> None:
    command = client("0.3.2", "download", "--license", "AAAAA-BBBBB-CCCCC-DDDDD")
    result = subprocess.run(command, env=surroundings(home), capture_output=True, text=True)
    assert result.returncode == 1
    assert '"error"' in result.stderr
    assert not (Path(home["HOME"]) / "bin" / "maritalk").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["0.2.3", "0.3.2"])
def test_the_client_starts_a_server_from_an_empty_home(
    version: str, key: str, service: Running, home: dict[str, str]
) -> None:
    """It downloads the launcher, which runs maritalk-serve; that downloads the weights, and the model answers."""
    port, mark = Port(free_port()), uuid.uuid4().hex
    command = client(version, "start", "--license", key, "--port", str(port.port))
    variables = {**surroundings(home), "SERVER_UNDER_TEST": mark, "SPT_NOENV": "1"}
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            deadline = time.monotonic() + READY_SECONDS
            while status(port) != "idle":
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.2)
            answer = port.ask("/chat/generate", {"messages": MESSAGES, "max_tokens": 8, "do_sample": False})
            assert answer.json["output"]
            listed = "\n".join(marked_processes(mark).values())
            assert key not in re.sub(r".*maritalk\.start.*", "", listed)
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
    assert "Downloading MariTalk-demo" in output
    assert "Listening on http://" in output
    cache = Path(home["HOME"]) / ".cache" / "maritalk-vllm"
    assert (cache / "models" / "demo" / "config.json").is_file()
    assert not [file for file in small_files(cache) if key.encode() in file.read_bytes()]
    assert Counter(entry.event for entry in service.last(6)) == {"key added": 1, "issued": 3, "download": 2}
    deadline = time.monotonic() + STOP_SECONDS
    while left := marked_processes(mark):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def small_files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size < 10_000_000]


def status(port: Port) -> str | None:
    try:
        return str(port.ask("/", timeout=5).json["status"])
    except OSError:
        return None
