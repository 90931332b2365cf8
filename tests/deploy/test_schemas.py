"""Rendered documents are valid by Kubernetes's schemas of the oldest supported and the newest version."""

import json
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.deploy.chart import CHART, EXAMPLES, ROOT, Document, rendered, template, tool

pytestmark = pytest.mark.deploy

OLDEST = "1.29"
KUBERNETES = [OLDEST, kubernetes_validate.latest_version()]
CRDS = json.loads((Path(__file__).parent / "crds.json").read_text())
"""Schemas of the fields that the chart uses of custom resources, which Kubernetes's schemas lack."""

SWITCHES = {
    "defaults": (),
    "signed licence": ("--set", "license.as=file", "--set-string", "license.key=eyJ.a.b"),
    "no volume, no checks, no log": (
        *("--set", "persistence.enabled=false", "--set", "doctor.enabled=false"),
        *("--set", "log.follow=false", "--set", "serviceAccount.create=false"),
    ),
    "GPUs": ("--set", "gpus=2", "--set", "gpuResource=nvidia.com/mig-3g.40gb", "--set", "resources.limits.memory=64Gi"),
}
CASES = {
    **{file.stem: ("--values", str(file)) for file in EXAMPLES},
    **SWITCHES,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_document_is_valid(case: str, version: str) -> None:
    for document in rendered(*CASES[case]):
        check(document, version)


def check(document: Document, version: str) -> None:
    if (crd := CRDS.get(f"{document['apiVersion']}/{document['kind']}")) is not None:
        jsonschema.validate(document["spec"], crd)
        if document["kind"] == "LeaderWorkerSet":
            # Its pod template has Kubernetes's own schema.
            pods = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pods"}}
            kubernetes_validate.validate({**pods, "template": template(document)}, version, strict=True)
    else:
        kubernetes_validate.validate(document, version, strict=True)


def test_an_invalid_document_is_detected() -> None:
    (service,) = (each for each in rendered() if each["kind"] == "Service")
    with pytest.raises(kubernetes_validate.ValidationError, match="typo"):
        check({**service, "spec": {**service["spec"], "typo": 1}}, OLDEST)


def test_the_cases_render_every_kind() -> None:
    kinds = {document["kind"] for case in CASES.values() for document in rendered(*case)}
    written = {
        line.removeprefix("kind: ")
        for file in (CHART / "templates").glob("*.yaml")
        for line in file.read_text().splitlines()
        if line.startswith("kind: ")
    }
    assert kinds == written


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_helm_lint_passes(file: Path) -> None:
    result = tool("helm", "lint", "--strict", str(CHART), "--values", str(file))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_oldest_version_is_that_of_the_chart() -> None:
    assert f'kubeVersion: ">={OLDEST}.0-0"' in (CHART / "Chart.yaml").read_text()


def test_the_chart_has_the_version_of_the_program() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = (line for line in project.splitlines() if line.startswith("version = "))
    chart = (CHART / "Chart.yaml").read_text()
    assert f"appVersion: {version.removeprefix('version = ')}\n" in chart
