"""Downloads at a start: the port answers meanwhile, and a stop at any moment leaves no process behind."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from maritalk_vllm.errors import LicenseError
from maritalk_vllm.server.process.download_process import download
from maritalk_vllm.server.process.log_file import LogFile
from maritalk_vllm.weights.fetch_request import FetchFromHub, FetchFromService
from tests.answering import Request, answering
from tests.server.process.test_log_file import opened
from tests.server.test_stop import assert_nothing_left, assert_stops
from tests.serving import Server, note
from tests.weights import archives
from tests.weights.hub import NAME, hub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return archives.model(tmp_path / "model", 50_000_000)


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Server:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    return Server(tmp_path, "--model", NAME, "--cache-dir", str(tmp_path / "cache"))


def download_process() -> psutil.Process:
    """The child process that downloads, by its title."""
    children = psutil.Process().children()
    # Another test of this process may have left a helper of the standard library, such as its resource tracker.
    (child,) = (each for each in children if " ".join(each.cmdline()).startswith("maritalk: fetch"))
    return child


def test_a_server_is_stopped_during_the_download(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(folder, pause=0.05) as server:
        started = start(tmp_path, monkeypatch, server.url)
        started.wait_for(f"Downloading {NAME} (")
        assert started.ask("/").json == {"status": "loading"}
        assert started.ask("/v1/models").status == 503
        assert_stops(started, "during the download")
        assert started.process.returncode == 0
    assert started.stderr.read_text() == ""


def test_a_failed_download_ends_the_start(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(folder) as server:
        started = start(tmp_path, monkeypatch, server.url + "/no/hub")
        assert started.process.wait(timeout=60) == 6
    assert started.stderr.read_text().startswith(f"maritalk-serve: Hugging Face knows no model {NAME}")
    assert started.stderr.read_text().count("\n") == 1
    assert_nothing_left(started)


def sockets(pid: int) -> set[str]:
    """The sockets and event queues that a process has open."""
    links = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            links.append(str(file.readlink()))
    return {link for link in links if link.startswith(("socket:", "anon_inode:"))}


def test_the_download_has_nothing_of_the_supervisor_and_ends_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fork of the event loop: neither its selector, nor the listener, nor a client's connection."""
    with hub(folder, pause=0.05) as server:
        started = start(tmp_path, monkeypatch, server.url)
        try:
            started.wait_for(f"Downloading {NAME} (")
            (child,) = (pid for pid, title in started.processes().items() if title.startswith("maritalk: fetch"))
            assert sockets(started.process.pid)
            assert sockets(child) & sockets(started.process.pid) == set()
            assert not any("eventpoll" in link for link in sockets(child))
        finally:
            started.stop(signal.SIGKILL)
        assert_nothing_left(started)


def test_a_licence_is_neither_in_the_arguments_nor_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "AAAAA-BBBBB-CCCCC-DDDDD"
    monkeypatch.setenv("MARITALK_LICENSE", key)
    monkeypatch.setenv("SPT_NOENV", "1")
    visible: list[str] = []

    def answer(request: Request) -> None:
        assert key.encode() in request.content
        child = download_process()
        visible.extend(Path(f"/proc/{child.pid}/{name}").read_text() for name in ("cmdline", "environ"))
        request.reply(401, b'{"error": "unknown"}', content_type="application/json")

    with answering(answer) as service, opened(tmp_path / "log") as log:
        fetch = FetchFromService("small", str(tmp_path / "small"), key, service.url, "12.2", str(tmp_path))
        with pytest.raises(LicenseError, match="refuses this key: unknown") as refused:
            asyncio.run(download(fetch, lambda *_: None, log))
    assert "maritalk: fetch" in visible[0]
    assert "PATH=" in visible[1]
    assert key not in "".join((*visible, str(refused.value), repr(fetch), (tmp_path / "log").read_text()))


def test_a_download_starts_quickly_and_its_cancellation_kills_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(log: LogFile) -> float:
        began = time.monotonic()
        seen = asyncio.Event()
        task = asyncio.create_task(download(FetchFromHub(NAME), lambda *_: seen.set(), log))
        await asyncio.wait_for(seen.wait(), 30)
        seconds = time.monotonic() - began
        child = download_process()
        task.cancel()
        await asyncio.wait((task,))
        assert not child.is_running()
        return seconds

    with hub(folder, pause=0.05) as server, opened(tmp_path / "log") as log:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        seconds = asyncio.run(scenario(log))
    note(f"a download: first progress {seconds:.2f} s after its process was started")


def test_the_process_imports_neither_torch_nor_vllm() -> None:
    code = (
        "import sys, maritalk_vllm.server.process.download_process, maritalk_vllm.weights.huggingface, "
        "maritalk_vllm.weights.install; print({'torch', 'vllm', 'transformers'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
