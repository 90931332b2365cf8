"""Helm's notes after an installation: commands and warnings."""

import re
from pathlib import Path

import pytest

from tests.deploy.chart import CHART, EXAMPLES, example, of_example, rendered, server, tool
from tests.documents.pages import read

pytestmark = pytest.mark.deploy

WARNINGS = ("no API keys", "one node alone", "share the claim")


def notes(*options: str) -> str:
    """The notes of a dry run, which needs no cluster."""
    result = tool("helm", "install", "maritalk-vllm", str(CHART), "--namespace", "llm", "--dry-run=client", *options)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_notes_name_existing_objects(file: Path) -> None:
    made = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in rendered("--values", str(file))}
    named = set(re.findall(r"\b(?:deployment|leaderworkerset|service)/[\w-]+", notes("--values", str(file))))
    assert named <= made
    workload = "leaderworkerset" if file.stem == "large-2-nodes" else "deployment"
    assert {"service/maritalk-vllm", f"{workload}/maritalk-vllm"} <= named
    assert ("service/maritalk-vllm-router" in named) == (file.stem == "routed")


def test_the_wait_for_a_group_is_as_long_as_its_startup_probe() -> None:
    """In the notes and in the page."""
    startup = server(of_example("large-2-nodes"))["startupProbe"]
    seconds = startup["periodSeconds"] * startup["failureThreshold"]
    waits = r"wait leaderworkerset/\S+ --for=condition=Available --timeout=(\w+)"
    assert re.findall(waits, notes("--values", str(example("large-2-nodes")))) == [f"{seconds}s"]
    assert re.findall(waits, read("docs/kubernetes.md")) == [f"{seconds // 60}m"]


def test_the_notes_have_a_valid_request() -> None:
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
def test_the_notes_warn_about_missing_keys_and_shared_volumes(options: tuple[str, ...], warned: set[str]) -> None:
    text = notes(*options)
    assert {words for words in WARNINGS if words in text} == warned
