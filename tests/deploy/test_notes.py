"""What helm says after an installation: commands that can be typed, and warnings."""

import re
from pathlib import Path

import pytest

from tests.deploy.chart import CHART, EXAMPLES, example, only, rendered, tool


def notes(*options: str) -> str:
    """Of an installation that stops before it would ask a cluster."""
    result = tool("helm", "install", "maritalk-vllm", str(CHART), "--namespace", "llm", "--dry-run=client", *options)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_is_named_is_there(file: Path) -> None:
    documents = rendered("--values", str(file))
    named = re.findall(r"\b(deployment|service)/(\S+)", notes("--values", str(file)))
    assert len(named) == 3
    for kind, name in named:
        assert only(documents, kind.capitalize())["metadata"]["name"] == name


def test_the_request_is_one_that_the_server_answers() -> None:
    assert "curl http://localhost:9000/chat/generate -d" in notes()
    guarded = notes("--values", str(example("air-gapped")))
    assert 'curl -k https://localhost:9000/chat/generate -H "Authorization: Bearer $KEY" -d' in guarded


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ((), {"no API keys"}),
        (("--set", "apiKeys.existingSecret=keys"), set()),
        (("--set", "replicas=2"), {"no API keys", "one node alone"}),
        (("--set", "replicas=2", "--set", "persistence.accessModes={ReadWriteMany}"), {"no API keys"}),
        (("--set", "replicas=2", "--set", "persistence.existingClaim=weights"), {"no API keys"}),
    ],
)
def test_warnings(options: tuple[str, ...], warned: set[str]) -> None:
    said = notes(*options)
    assert {words for words in ("no API keys", "one node alone") if words in said} == warned
