"""The Helm chart, rendered by the real helm."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "maritalk-vllm"
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
TOOLS = Path(os.environ.get("DEPLOY_TOOLS", ROOT / ".venv" / "deploy"))
"""The folder in which `make deploy-check` installs helm and kubectl."""

Document = dict[str, Any]
WORKLOADS = ("Deployment", "LeaderWorkerSet", "Job")


def tool(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run helm or kubectl without a cluster and without the user's own configuration."""
    environment = {"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def example(name: str) -> Path:
    return ROOT / "deploy" / "examples" / f"{name}.yaml"


@functools.cache
def rendered(*options: str, release: str = "maritalk-vllm", namespace: str = "llm") -> list[Document]:
    """Render the chart with options of `helm template`, such as `--values FILE` and `--set a.b=c`."""
    result = tool("helm", "template", release, str(CHART), "--namespace", namespace, *options)
    assert result.returncode == 0, result.stderr
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def of_example(name: str) -> list[Document]:
    return rendered("--values", str(example(name)))


def helm_error(*options: str) -> str:
    """The error with which the chart rejects these options."""
    result = tool("helm", "template", "maritalk-vllm", str(CHART), *options)
    assert result.returncode != 0, result.stdout
    return result.stderr


def only(documents: list[Document], kind: str, name: str = "") -> Document:
    """The only document of a kind, or the one with that name."""
    (found,) = (each for each in documents if each["kind"] == kind and name in ("", each["metadata"]["name"]))
    return found


def template(workload: Document) -> Document:
    """The pod template of a Deployment, a Job or a LeaderWorkerSet."""
    spec = workload["spec"]
    found: Document = spec.get("leaderWorkerTemplate", {}).get("workerTemplate") or spec["template"]
    return found


def serving(documents: list[Document]) -> Document:
    """The workload that runs the servers."""
    (found,) = (
        each
        for each in documents
        if each["kind"] in WORKLOADS and template(each)["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    )
    return found


def pod(documents: list[Document]) -> Document:
    """The pod spec of the server."""
    spec: Document = template(serving(documents))["spec"]
    return spec


def server(documents: list[Document]) -> Document:
    (container,) = pod(documents)["containers"]
    return container


def pods(documents: list[Document]) -> list[Document]:
    """Every pod spec: the server's, the router's and the download's."""
    return [template(each)["spec"] for each in documents if each["kind"] in WORKLOADS]


def containers(documents: list[Document]) -> list[Document]:
    return [each for one in pods(documents) for each in (*one.get("initContainers", ()), *one["containers"])]


def configuration(documents: list[Document]) -> str:
    """The server's configuration file."""
    text: str = only(documents, "ConfigMap")["data"]["maritalk.yaml"]
    return text
