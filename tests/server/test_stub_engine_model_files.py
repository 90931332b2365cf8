"""The files of the model that a stub engine serves are replaced by others: a reload has another engine load them."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.models.files import model
from tests.server.startup.test_preflight import TOKENIZER
from tests.server.test_stub_engine_reload import PROMPT, WEIGHTS
from tests.serving import BIN, until
from tests.stub_engine.server import StubServer

CHANGED = {
    "none": "The model's files have changed: replacing the engine.",
    "go": "The model's files have changed: the next engine starts, and this one serves until it is ready.",
}
"""What is printed without, and with room for a second engine."""


class Served(StubServer):
    """A server without a configuration file, of a model in a folder."""

    def __init__(self, folder: Path, **actions: list[str]) -> None:
        self.model = folder / "model"
        self.replace_files(4096)
        (self.model / "tokenizer.json").write_text(TOKENIZER)
        super().__init__(folder, "--model", str(self.model), **actions)

    def replace_files(self, max_model_len: int) -> None:
        """Write the model's files again, for another context length."""
        model(self.model, WEIGHTS, max_position_embeddings=max_model_len)

    def reload(self) -> None:
        """Send SIGHUP, and wait until it has been handled."""
        times = self.log.count("read again on SIGHUP")
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log.count("read again on SIGHUP") > times, "the reload is logged")

    @property
    def log(self) -> str:
        return self.engine_log.read_text()


@pytest.mark.parametrize("room", ["none", "go"])
def test_a_reload_loads_changed_files_of_the_model(tmp_path: Path, room: str) -> None:
    """Once: a second reload, like one before the change, finds nothing that needs another engine."""
    with Served(tmp_path, room=[room]) as server:
        server.wait_until_ready()
        server.reload()
        server.replace_files(2048)
        server.reload()
        server.wait_until_ready_again()
        assert server.length == "2048"
        assert "which needs another engine: config.json, model.safetensors." in server.log
        assert CHANGED[room] in server.stdout.read_text()
        server.reload()
        assert server.ask("/generate", PROMPT).status == 200
        assert server.log.count("which needs another engine") == 1
        assert len(server.reached("loading")) == 2


def test_files_that_change_while_the_engine_loads_them_are_loaded_by_another_one(tmp_path: Path) -> None:
    with Served(tmp_path, room=["none"], loading=["wait 2", "go"]) as server:
        server.wait_until_reached("loading")
        server.replace_files(2048)
        server.reload()
        server.wait_until_ready_again()
        assert server.length == "2048"


def test_the_command_reload_has_the_result_for_changed_files(tmp_path: Path) -> None:
    """What /readyz reported before the reload does not count."""

    def command() -> "subprocess.CompletedProcess[str]":
        words: list[str | Path] = [BIN / "maritalk-vllm", "reload", "--port", str(server.port)]
        return subprocess.run(words, capture_output=True, text=True)

    with Served(tmp_path, room=["none"]) as server:
        server.wait_until_ready()
        (server.model / "config.json").write_text("{")
        failed = command()
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "The model's changed files cannot be used: " in failed.stderr
        (server.model / "model.safetensors").write_bytes(b"")
        until(lambda: any("cannot be used" in each for each in server.problems), "the failed reload is a problem")
        server.replace_files(2048)
        succeeded = command()
        assert (succeeded.returncode, succeeded.stderr) == (0, "")
        assert succeeded.stdout.endswith(", has reloaded its files.\n")
        server.wait_until_ready_again()
        assert server.length == "2048"


def test_changed_files_that_cannot_be_served_leave_the_engine_serving(tmp_path: Path) -> None:
    with Served(tmp_path, room=["go"], loading=["go", "fail No memory.", "go"]) as server:
        server.wait_until_ready()
        engine = server.engine
        (server.model / "config.json").write_text("{")
        server.reload()
        until(lambda: any("cannot be used" in each for each in server.problems), "the problem is reported")
        server.replace_files(2048)
        server.reload()
        server.wait_for_text("No memory: the engine with the earlier settings goes on serving.", 1)
        assert server.ask("/generate", PROMPT).status == 200
        until(lambda: "No memory." in server.log, "the reason is logged")
        assert server.engine == engine
        server.reload()
        server.wait_until_ready_again()
        assert server.length == "2048"
        until(lambda: not server.problems, "the problem is solved")
