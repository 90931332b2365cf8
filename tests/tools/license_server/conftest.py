"""One service shared by all tests that do not change it; each creates its own keys."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.tools.license_server import weights_archive
from tests.tools.license_server.running import Running

_RANDOM = random.Random(0)  # the same in each process that collects the tests
WEIGHTS = {"small": _RANDOM.randbytes(300_000), "demo": _RANDOM.randbytes(5000)}
SHA256 = {model: hashlib.sha256(content).hexdigest() for model, content in WEIGHTS.items()}


def add_weights(service: Running) -> None:
    for model, content in WEIGHTS.items():
        file = service.folder / f"{model}.tar"
        file.write_bytes(content)
        weights_archive.register(service.database, weights_archive.read(model, file))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("service")) as running:
        add_weights(running)
        yield running


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Running]:
    """A separate service, for tests that change shared state."""
    with Running(tmp_path) as running:
        add_weights(running)
        yield running
