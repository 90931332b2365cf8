"""The chart's values: each is documented, and a wrong one is rejected with its reason."""

import json
import re
from typing import Any

import pytest
import yaml

from maritalk_vllm.settings import OPTIONS
from tests.deploy.chart import CHART, configuration, helm_error, rendered

pytestmark = pytest.mark.deploy

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = (CHART / "values.yaml").read_text()
LICENSED = ("--set", "model=small", "--set", "gpus=1", "--set", "license.existingSecret=licence")
GROUPED = ("--set", "nodes=2", "--set", "persistence.enabled=false")
SET_BY_THE_GROUP = {"nodes", "node_rank", "head", "distributed_backend"}
"""By environment variables, which differ between pods."""
SET_BY_THE_CHART = {
    *(
        "model",
        "device",
        "port",
        "cache_dir",
        "data_dir",
        "log_file",
        "drain_timeout",
        "license_service",
        "license_public_key",
    ),
    *("license", "api_key_file", "nodes_secret_file", "ssl_certfile", "ssl_keyfile", "engine_args"),
}
NOT_SUPPORTED = {"api_key", "interactive", "dry_run"}
"""They would put a key into a ConfigMap, start a chat without a terminal, and end without serving."""


def test_every_option_of_the_server_is_a_value_or_excluded() -> None:
    options = SCHEMA["properties"]["options"]["properties"].keys()
    assert options | SET_BY_THE_CHART | SET_BY_THE_GROUP | NOT_SUPPORTED == OPTIONS.keys()
    assert not options & (SET_BY_THE_CHART | SET_BY_THE_GROUP | NOT_SUPPORTED)


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> None:
    """Assert that values and schema have the same keys, section by section."""
    if schema.get("additionalProperties") is not False:
        return
    assert values.keys() <= schema["properties"].keys(), path
    if path not in OPEN:
        assert values.keys() == schema["properties"].keys() - {"global"}, path
        for name, value in values.items():
            if isinstance(value, dict):
                leaves(value, schema["properties"][name], f"{path}.{name}")


OPEN = {".options", ".resources"}
"""Sections whose keys are all optional."""


def test_values_and_schema_have_the_same_keys() -> None:
    leaves(yaml.safe_load(VALUES), SCHEMA)


def test_every_value_has_a_comment() -> None:
    """Above it. In a section, self-explanatory names need none."""
    lines = VALUES.splitlines()
    uncommented = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r" *\w+:", line) and not before.strip().startswith("#") and not line.endswith(":")
    ]
    self_explanatory = {
        *("enabled", "pullPolicy", "type", "port", "annotations", "backoffLimit", "maxReplicas", "interval"),
        *("periodSeconds", "failureThreshold", "timeoutSeconds", "pollingSeconds", "minReplicas", "resources"),
        *("kvCacheMetric", "podAnnotations", "podLabels", "priorityClassName", "nodeSelector", "affinity", "create"),
        *("runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"),
        *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"),
    }
    assert {line.partition(":")[0] for line in uncommented} <= self_explanatory


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("gpus=-1", "at '/gpus': minimum: got -1, want 0"),
        ("gpu=1", "additional properties 'gpu' not allowed"),
        ("drain.timeout=5", "at '/drain': additional properties 'timeout' not allowed"),
        ("options.api_key=secret", "at '/options': additional properties 'api_key' not allowed"),
        ("options.max_model_len=long", "at '/options/max_model_len': 'long' does not match pattern"),
        ("license.as=argument", "at '/license/as': value must be one of 'environment', 'file'"),
        ("license.publicKeys={nonsense}", "at '/license/publicKeys/0'"),
        ("persistence.size=big", "at '/persistence/size'"),
        ("options.batch_retention=30x", "at '/options/batch_retention': '30x' does not match pattern"),
        ("batches.accessModes={ReadOnlyMany}", "at '/batches/accessModes/0'"),
        ("autoscaling.minReplicas=0", "at '/autoscaling/minReplicas': minimum: got 0, want 1"),
        ("autoscaling.kvCacheUsage=85", "at '/autoscaling/kvCacheUsage': maximum: got 85, want 1"),
        ("image.digest=latest", "at '/image/digest'"),
        ("nodes=0", "at '/nodes': minimum: got 0, want 1"),
        ("group.backend=mpi", "at '/group/backend': value must be one of 'mp', 'ray'"),
        ("group.restartPolicy=Always", "at '/group/restartPolicy'"),
        ("service.sessionAffinity=Cookie", "at '/service/sessionAffinity'"),
        ("router.policy=prefix", "at '/router/policy'"),
        ("router.extraArgs={policy}", "at '/router/extraArgs/0'"),
    ],
)
def test_a_wrong_value_is_rejected(wrong: str, error: str) -> None:
    assert error in helm_error("--set", wrong)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--set", "model=small", "--set", "license.key=A"), "served on GPUs alone, and gpus is 0: set gpus"),
        (("--set", "model=medium", "--set", "gpus=2"), "model medium needs a licence, and none is given: set license."),
        ((*LICENSED, "--set", "license.key=A"), "license.key and license.existingSecret are both set: leave one"),
        (("--set", "apiKeys.keys={a}", "--set", "apiKeys.existingSecret=b"), "are both set: leave one of them empty."),
        (
            ("--set", "serviceMonitor.enabled=true", "--set", "apiKeys.existingSecret=b"),
            "Prometheus needs an API key",
        ),
        (("--set", "nodes=2"), 'nodes is 2, and persistence.accessModes is ["ReadWriteOnce"], a volume that one node'),
        (("--set", "batches.persistent=true", "--set", "replicas=2"), "files and batches are one server's own. Set"),
        (("--set", "batches.persistent=true", "--set", "autoscaling.enabled=true"), "one server's own. Set replicas"),
        ((*GROUPED, "--set", "batches.persistent=true"), 'nodes is 2, and batches.accessModes is ["ReadWriteOnce"]'),
        ((*GROUPED, "--set", "options.replicas=2"), "options.replicas makes copies on one node, and nodes is 2: leave"),
        (("--set", "router.enabled=true", "--set", "tls.existingSecret=t"), "which vllm-router does not ask"),
        (("--set", "ingress.enabled=true"), "ingress.hosts is empty: name the host"),
        (("--set", "autoscaling.enabled=true"), "autoscaling.keda.serverAddress is empty: set it"),
        (
            ("--set", "autoscaling.enabled=true", "--set", "autoscaling.minReplicas=9"),
            "autoscaling.maxReplicas is 4, less than autoscaling.minReplicas, which is 9",
        ),
    ],
)
def test_conflicting_values_are_rejected(options: tuple[str, ...], sentence: str) -> None:
    assert sentence in helm_error(*options)


def test_large_numbers_are_rendered_as_integers() -> None:
    """Helm parses numbers of files as floats, which it would render as 1e+06."""
    documents = rendered(
        *("--set", "options.tokens_per_minute=12000000"),
        *("--set", "extraArgs={--max-num-batched-tokens,1000000}"),
    )
    assert "tokens_per_minute: 12000000\n" in configuration(documents)
    (deployment,) = (each for each in documents if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "1000000"
