"""Downloads with a key: our client against our service."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_config import run_tool
from tests.tools.license_server.running import Running
from tests.weights import archives

Download = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return archives.model(tmp_path / "packed")


@pytest.fixture
def service(packed: Path, tmp_path: Path) -> Iterator[Running]:
    archive = archives.tar(packed, tmp_path / "small.tar")
    with Running(tmp_path) as running:
        run_tool("license", "add-weights", "--model", "small", str(archive), "--database", str(running.file))
        yield running


@pytest.fixture
def key(service: Running) -> str:
    return run_tool("license", "add-key", "--model", "small", "--database", str(service.file)).stdout.strip()


@pytest.fixture
def download(service: Running, key: str, tmp_path: Path) -> Download:
    def run(*arguments: str, cache: str = "cache") -> "subprocess.CompletedProcess[str]":
        result = run_tool(
            "download",
            *arguments,
            MARITALK_LICENSE=key,
            MARITALK_LICENSE_SERVICE=service.url,
            MARITALK_CACHE_DIR=str(tmp_path / cache),
        )
        assert key not in result.stdout + result.stderr
        return result

    return run


def test_download_into_the_cache_once(packed: Path, download: Download, service: Running, tmp_path: Path) -> None:
    place = tmp_path / "cache" / "models" / "small"
    first = download()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("Downloading MariTalk Small: ")
    assert first.stdout.endswith(f"small is here: {place}\n")
    assert archives.content(place) == archives.content(packed)
    assert download().stdout == f"small is here already: {place}\n"
    assert sum(entry.event == "download" for entry in service.last(100)) == 1


def test_download_into_a_given_folder(packed: Path, download: Download, tmp_path: Path) -> None:
    place = tmp_path / "my" / "model.v1"
    assert download("--path", str(place)).returncode == 0
    assert archives.content(place) == archives.content(packed)
    assert "here already" in download("--path", str(place)).stdout
    (tmp_path / "empty").mkdir()
    assert download("--path", str(tmp_path / "empty")).returncode == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    refused = download("--path", str(tmp_path / "other"))
    assert refused.returncode == 2
    assert "already exists and contains no model" in refused.stderr
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_model_that_the_key_does_not_allow(download: Download) -> None:
    refused = download("--model", "medium")
    assert refused.returncode == 3
    assert "This licence is for small, not for medium" in refused.stderr


def test_revoked(download: Download, service: Running, tmp_path: Path) -> None:
    assert download().returncode == 0
    run_tool("license", "revoke", "1", "--database", str(service.file))
    # A cached model is not allowed either.
    for cache in ("cache", "empty"):
        refused = download(cache=cache)
        assert refused.returncode == 3
        assert "This key was revoked on" in refused.stderr
