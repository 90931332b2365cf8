"""Downloads at a start: the port answers meanwhile, and a stop at any moment leaves no process behind."""

from pathlib import Path

import pytest

from tests.server.test_stop import assert_nothing_left, assert_stops
from tests.serving import Server
from tests.weights import archives
from tests.weights.hub import NAME, hub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return archives.model(tmp_path / "model", 50_000_000)


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Server:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    return Server(tmp_path, "--model", NAME, "--cache-dir", str(tmp_path / "cache"))


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
