"""A download whose process is killed at random points."""

import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.serving import note
from tests.weights import archives
from tests.weights.archives import content
from tests.weights.file_server import File, serving
from tests.weights.test_install import get, left

pytestmark = pytest.mark.chaos

KILLS = 20
MiB = 1 << 20


@pytest.mark.nightly
def test_a_killed_download_resumes_and_is_complete(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Each restart continues at the killed position, and the model is identical to the byte."""
    model = archives.model(tmp_path_factory.mktemp("original") / "model", 24 * MiB)
    archive = archives.tar(model, model.with_name("archive")).read_bytes()
    context = multiprocessing.get_context("spawn")
    folder = tmp_path / "model"
    chance = random.Random(0)
    file = File(archive, pause=0.0005)
    twice: list[int] = []
    rounds = kills = 0
    with serving(file):
        while kills < KILLS:
            rounds += 1
            file.sent, file.starts = 0, []
            deaths = 0
            while not folder.exists():
                assert left(tmp_path) <= {"model.download", "model.download.json", "model.partial"}
                process = context.Process(target=get, args=(folder, file.url, file.sha256))
                begun = len(file.starts)
                process.start()
                while process.is_alive() and len(file.starts) == begun and not folder.exists():
                    time.sleep(0.002)
                # Any moment between the first bytes and the rename of the folder.
                process.join(chance.uniform(0, 0.4 if kills < KILLS else 60))
                if process.is_alive() and kills < KILLS:
                    process.kill()
                    kills += 1
                    deaths += 1
                process.join()
            assert content(folder) == content(model)
            assert left(tmp_path) <= {"model", "model.download", "model.download.json"}
            if deaths:
                twice.append((file.sent - len(archive)) // deaths)
            shutil.rmtree(folder)
            for rest in tmp_path.glob("model.download*"):
                rest.unlink()
    note(f"download killed {kills} times in {rounds} downloads: at most {max(twice):,} bytes sent twice a restart")
    assert max(twice) <= MiB
