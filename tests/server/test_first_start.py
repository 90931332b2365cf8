"""The first start on a machine: the server prepares the demo model before it loads it."""

from pathlib import Path

import pytest

from tests.counting import samples
from tests.serving import Server, note


@pytest.mark.engine
@pytest.mark.nightly  # by day: the session prepares the model if this machine has none; phases of a stub engine
def test_a_first_start_prepares_the_demo_model(tmp_path: Path) -> None:
    server = Server(tmp_path, "--cache-dir", str(tmp_path / "cache"))
    try:
        server.wait_until_ready()
        assert server.ask("/generate", {"prompt": "1 2 3", "max_tokens": 4}).status == 200
        found = samples(server.ask("/metrics").body.decode())
    finally:
        server.stop()
    seconds = {
        dict(labels)["phase"]: value for (name, labels), value in found.items() if name == "maritalk_start_seconds"
    }
    assert seconds.keys() == {"port", "importing", "preparing", "loading", "warming_up", "ready"}
    (checkpoint,) = (path for path in (tmp_path / "cache" / "models").iterdir() if path.is_dir())
    assert (checkpoint / "model.safetensors").stat().st_size > 200e6
    note(f"a first start: ready after {seconds['ready']:.1f} s, {seconds['preparing']:.1f} s of it the demo model")
