"""What helm says after an installation: commands that can be typed, and warnings."""

import re
from pathlib import Path

import pytest

from tests.deploy.chart import CHART, EXAMPLES, example, of_example, rendered, server, tool
from tests.documents.pages import read

pytestmark = pytest.mark.deploy

WARNINGS = ("no API keys", "one node alone", "share the claim")


def notes(*options: str) -> str:
    """Of an installation that stops before it would ask a cluster."""
    result = tool("helm", "install", "maritalk-vllm", str(CHART), "--namespace", "llm", "--dry-run=client", *options)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_is_named_is_there(file: Path) -> None:
    made = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in rendered("--values", str(file))}
    named = set(re.findall(r"\b(?:deployment|leaderworkerset|service)/[\w-]+", notes("--values", str(file))))
    assert named <= made
    workload = "leaderworkerset" if file.stem == "large-2-nodes" else "deployment"
    assert {"service/maritalk-vllm", f"{workload}/maritalk-vllm"} <= named
    assert ("service/maritalk-vllm-router" in named) == (file.stem == "routed")


def test_a_group_is_waited_for_as_long_as_its_load_may_take() -> None:
    """By what is typed after an installation, and by the page."""
    startup = server(of_example("large-2-nodes"))["startupProbe"]
    seconds = startup["periodSeconds"] * startup["failureThreshold"]
    waits = r"wait leaderworkerset/\S+ --for=condition=Available --timeout=(\w+)"
    assert re.findall(waits, notes("--values", str(example("large-2-nodes")))) == [f"{seconds}s"]
    assert re.findall(waits, read("docs/kubernetes.md")) == [f"{seconds // 60}m"]


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
        (("--set", "nodes=2", "--set", "persistence.existingClaim=weights"), {"no API keys", "share the claim"}),
        (("--set", "nodes=2", "--set", "persistence.enabled=false"), {"no API keys"}),
    ],
)
def test_warnings(options: tuple[str, ...], warned: set[str]) -> None:
    said = notes(*options)
    assert {words for words in WARNINGS if words in said} == warned
