"""Installing a model from a link: damaged downloads, bad archives and concurrent processes."""

import multiprocessing
import tarfile
from pathlib import Path

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.weights import install as module
from maritalk_vllm.weights.download import RetryPolicy
from maritalk_vllm.weights.install import fetch
from maritalk_vllm.weights.partial_file import Link
from tests.weights import archives
from tests.weights.archives import content
from tests.weights.file_server import File, serving

MiB = 1 << 20
QUICK = RetryPolicy(silence=1, pauses=(0.01,))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.model(tmp_path_factory.mktemp("original") / "model", 24 * MiB)


@pytest.fixture(scope="module")
def archive(model: Path) -> bytes:
    return archives.tar(model, model.with_name("archive")).read_bytes()


def get(folder: Path, url: str, sha256: str | None = None) -> None:
    fetch(folder, lambda: Link(url, sha256=sha256), "the model", lambda *_: None, QUICK)


def left(folder: Path) -> set[str]:
    """The names in the folder, except for the lock, which stays."""
    return {path.name for path in folder.iterdir()} - {"model.lock"}


def test_damaged_download(archive: bytes, tmp_path: Path) -> None:
    with serving(File(archive)) as file:
        good = file.sha256
        file.data = archive[:-9000] + b"x" + archive[-8999:]
        with pytest.raises(WeightsError, match="is damaged: its SHA-256 begins with"):
            get(tmp_path / "model", file.url, good)
        assert left(tmp_path) == set()


@pytest.mark.parametrize("kind", ["weights cut off", "no config.json", "a file above it", "a pickle"])
def test_archive_without_a_valid_model(kind: str, tmp_path: Path) -> None:
    folder = archives.model(tmp_path / "packed" / "model")
    match kind:
        case "weights cut off":
            weights = folder / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1])
        case "no config.json":
            (folder / "config.json").unlink()
        case "a pickle":
            (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    packed = archives.tar(folder, tmp_path / "packed" / "archive")
    if kind == "a file above it":
        with tarfile.open(packed, "a") as archive:
            archive.add(folder / "config.json", "../../config.json")
    (tmp_path / "here").mkdir()
    with serving(File(packed.read_bytes())) as file, pytest.raises(WeightsError):
        get(tmp_path / "here" / "model", file.url, file.sha256)
    assert left(tmp_path / "here") == set()
    assert not (tmp_path / "config.json").exists()


def test_concurrent_processes_download_once(model: Path, archive: bytes, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with serving(File(archive, pause=0.0005)) as file:
        both = [context.Process(target=get, args=(tmp_path / "model", file.url)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            process.join()
            assert process.exitcode == 0
    assert file.starts == [0]
    assert content(tmp_path / "model") == content(model)


def test_installed_model_is_not_downloaded(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    get(tmp_path / "model", "http://127.0.0.1:9/")


def test_archive_is_kept_while_the_disk_is_full(
    archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is complete, but there is no space to unpack it. It is not downloaded again."""

    def full(*_: object) -> None:
        raise WeightsError("full")

    with serving(File(archive)) as file:
        with monkeypatch.context() as patch:
            patch.setattr(module, "check_space", full)
            with pytest.raises(WeightsError, match="full"):
                get(tmp_path / "model", file.url)
        get(tmp_path / "model", file.url)
    assert file.starts == [0]
    assert left(tmp_path) == {"model"}
