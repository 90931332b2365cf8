"""What the README prints is what one sees."""

import json
import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from maritalk_vllm.settings import Settings
from tests.clients.environments import python
from tests.serving import BIN, Server

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def test_the_help_is_printed_as_it_is() -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    text = subprocess.run([BIN / "maritalk-serve", "--help"], capture_output=True, text=True, env=environment).stdout
    assert text in blocks("")


def test_the_plan_is_printed_as_it_is() -> None:
    (shown,) = (text for text in blocks("") if text.startswith("$ maritalk-vllm plan"))
    command, _, expected = shown.partition("\n")
    result = subprocess.run([BIN / "maritalk-vllm", *command.split()[2:]], capture_output=True, text=True)
    assert result.stdout == expected


def test_the_table_of_fields() -> None:
    from maritalk_vllm.api.local_wire import LocalRequest

    for field in msgspec.structs.fields(LocalRequest):
        default = [] if field.name == "stop_sequences" else field.default
        assert f"| `{field.name}` | `{json.dumps(default)}` |" in README
    assert Settings().time_unit == "ms"


def test_the_python_example_runs_with_the_published_client(shared_server: Server) -> None:
    (example,) = blocks("python")
    if shared_server.port != 9000:
        example = example.replace("MariTalkLocal()", f"MariTalkLocal(port={shared_server.port})")
    result = subprocess.run([python("maritalk-0.3.2"), "-c", example], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("{'status': 'idle'}\n")


def test_the_curl_example(shared_server: Server) -> None:
    (command,) = (block for block in blocks("bash") if block.startswith("curl"))
    command = command.replace("localhost:9000", f"localhost:{shared_server.port}")
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    if result.returncode == 127:
        pytest.skip("this machine has no curl")
    assert '"output"' in result.stdout
