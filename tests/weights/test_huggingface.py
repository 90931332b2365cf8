"""Models of the Hugging Face hub, with the real huggingface_hub and a hub on the loopback."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.rendering import localized
from maritalk_vllm.weights.huggingface import explain
from tests.answering import Answering
from tests.cli.test_config import run_tool
from tests.serving import UNREACHABLE_URL
from tests.weights import archives
from tests.weights.hub import COMMIT, NAME, hub

PICKLE = "pytorch_model.bin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    folder = archives.model(tmp_path_factory.mktemp("hub") / "model", 3_000_000)
    (folder / PICKLE).write_bytes(b"\x80\x04.")
    with hub(folder) as server:
        yield server


def download(
    home: Path, endpoint: str, model: str = NAME, *more: str, **extra: str
) -> "subprocess.CompletedProcess[str]":
    return run_tool("download", "--model", model, *more, HF_HOME=str(home), HF_ENDPOINT=endpoint, **extra)


def test_download_into_the_hub_cache_happens_once(server: Answering, tmp_path: Path) -> None:
    first = download(tmp_path, server.url)
    assert first.returncode == 0, first.stderr
    snapshot = tmp_path / "hub" / "models--acme--tiny" / "snapshots" / COMMIT
    assert f"Downloading {NAME}: " in first.stdout
    assert first.stdout.endswith(f"{NAME} is here: {snapshot}\n")
    assert {file.name for file in snapshot.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    for endpoint, extra in ((UNREACHABLE_URL, {}), (server.url, {"HF_HUB_OFFLINE": "1"})):
        again = download(tmp_path, endpoint, **extra)
        assert again.stdout == f"{NAME} is here already: {snapshot}\n", again.stderr


def test_offline_is_respected(server: Answering, tmp_path: Path) -> None:
    request_count = len(server.requests)
    result = download(tmp_path, server.url, HF_HUB_OFFLINE="1")
    assert (result.returncode, len(server.requests)) == (6, request_count)
    assert "HF_HUB_OFFLINE forbids to download it" in result.stderr


def test_incomplete_download_is_no_model(server: Answering, tmp_path: Path) -> None:
    assert download(tmp_path, server.url).returncode == 0
    weights = next(tmp_path.rglob("model.safetensors"))
    weights.resolve().unlink()
    weights.unlink()
    assert "HF_HUB_OFFLINE" in download(tmp_path, server.url, HF_HUB_OFFLINE="1").stderr
    assert download(tmp_path, server.url).returncode == 0
    assert weights.stat().st_size > 3_000_000 - 64


@pytest.mark.parametrize(
    ("model", "message"),
    [("acme/unknown", "Hugging Face knows no model acme/unknown"), ("acme/gated", "acme/gated is a gated model")],
)
def test_unknown_and_gated_models(model: str, message: str, server: Answering, tmp_path: Path) -> None:
    result = download(tmp_path, server.url, model)
    assert result.returncode == 6
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_network(tmp_path: Path) -> None:
    result = download(tmp_path, UNREACHABLE_URL)
    assert result.returncode == 6
    assert (
        f"{NAME} cannot be downloaded from Hugging Face: 127.0.0.1 cannot be reached (Connection ref" in result.stderr
    )
    assert result.stderr.endswith("). Check the network, or give the folder that holds the model: --model PATH.\n")
    assert result.stderr.count("\n") == 1


def test_no_name_of_the_hub() -> None:
    """Nothing has arrived, so nothing is kept."""
    error = httpx.ConnectError("[Errno -2] Name or service not known")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    choose(Language.PORTUGUESE)
    try:
        assert localized(explain(error, NAME).text) == (
            f"Não é possível baixar {NAME} do Hugging Face: não é possível alcançar huggingface.co (o nome dele não "
            "foi encontrado no DNS). Verifique a rede, ou informe a pasta que contém o modelo: --model CAMINHO."
        )
    finally:
        choose(Language.ENGLISH)


def test_a_part_that_has_arrived_is_kept() -> None:
    broken = OSError("The connection broke")
    assert "kept" not in explain(broken, NAME).hint
    assert explain(broken, NAME, is_partly_here=True).hint.startswith("The downloaded part is kept. Run it again to")


def test_path_option_is_rejected(tmp_path: Path) -> None:
    result = download(tmp_path, UNREACHABLE_URL, NAME, "--path", str(tmp_path / "x"))
    assert result.returncode == 2
    assert "HF_HOME" in result.stderr
