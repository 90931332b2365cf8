"""The published `maritalk` client, the version of the reference and the newest, each in its own environment."""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.clients.environments import python
from tests.serving import Server

pytestmark = pytest.mark.core

EXAMPLE = Path(__file__).with_name("reference_example.py")


@pytest.mark.parametrize("version", ["0.2.3", "0.3.2"])
def test_example_of_the_reference_runs(shared_server: Server, version: str, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    if shared_server.port != 9000:  # another program uses the port
        text = text.replace("MariTalkLocal()", f"MariTalkLocal(port={shared_server.port})")
    script = tmp_path / "example.py"
    script.write_text(text)
    result = subprocess.run([python(f"maritalk-{version}"), script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    status, review, chat = (ast.literal_eval(line) for line in result.stdout.splitlines())
    assert status == {"status": "idle"}
    for answer in (review, chat):
        assert list(answer) == ["output", "queue_time", "prompt_time", "generation_time"]
        assert all(type(answer[name]) is int for name in list(answer)[1:])
    assert review["output"]
    assert not review["output"].startswith(" ")
    assert chat["output"]
