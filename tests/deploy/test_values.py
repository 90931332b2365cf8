"""The values: each is told of, and a wrong one is refused with what is wrong with it."""

import json
import re
from typing import Any

import pytest
import yaml

from maritalk_vllm.settings import OPTIONS
from tests.deploy.chart import CHART, configuration, refusal, rendered

pytestmark = pytest.mark.deploy

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = (CHART / "values.yaml").read_text()
LICENSED = ("--set", "model=small", "--set", "gpus=1", "--set", "license.existingSecret=licence")
GROUPED = ("--set", "nodes=2", "--set", "persistence.enabled=false")
SET_BY_THE_GROUP = {"nodes", "node_rank", "head", "distributed_backend"}
"""By variables, of which each pod has other values."""
SET_BY_THE_CHART = {
    *("model", "device", "port", "cache_dir", "log_file", "drain_timeout", "license_service", "license_public_key"),
    *("license", "api_key_file", "nodes_secret_file", "ssl_certfile", "ssl_keyfile", "engine_args"),
}
OF_NO_USE_HERE = {"api_key", "interactive", "dry_run"}
"""A key in a file that anybody may read, a chat without a terminal, a server that serves nothing."""


def test_every_option_of_the_server_can_be_set_or_is() -> None:
    options = SCHEMA["properties"]["options"]["properties"].keys()
    assert options | SET_BY_THE_CHART | SET_BY_THE_GROUP | OF_NO_USE_HERE == OPTIONS.keys()
    assert not options & (SET_BY_THE_CHART | SET_BY_THE_GROUP | OF_NO_USE_HERE)


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> None:
    """Each value is in the schema and each of the schema in the values, section by section."""
    if schema.get("additionalProperties") is not False:
        return
    assert values.keys() <= schema["properties"].keys(), path
    if path not in OPEN:
        assert values.keys() == schema["properties"].keys() - {"global"}, path
        for name, value in values.items():
            if isinstance(value, dict):
                leaves(value, schema["properties"][name], f"{path}.{name}")


OPEN = {".options", ".resources"}
"""Of which none has to be set."""


def test_values_and_schema_are_of_the_same() -> None:
    leaves(yaml.safe_load(VALUES), SCHEMA)


def test_every_value_has_its_comment() -> None:
    """Above it; a section's first line may stand for those within that say all by their names."""
    lines = VALUES.splitlines()
    uncommented = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r" *\w+:", line) and not before.strip().startswith("#") and not line.endswith(":")
    ]
    said_by_their_names = {
        *("enabled", "pullPolicy", "type", "port", "annotations", "backoffLimit", "maxReplicas", "interval"),
        *("periodSeconds", "failureThreshold", "timeoutSeconds", "pollingSeconds", "minReplicas", "resources"),
        *("kvCacheMetric", "podAnnotations", "podLabels", "priorityClassName", "nodeSelector", "affinity", "create"),
        *("runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"),
        *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"),
    }
    assert {line.partition(":")[0] for line in uncommented} <= said_by_their_names


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("gpus=-1", "at '/gpus': minimum: got -1, want 0"),
        ("gpu=1", "additional properties 'gpu' not allowed"),
        ("drain.timeout=5", "at '/drain': additional properties 'timeout' not allowed"),
        ("options.api_key=secret", "at '/options': additional properties 'api_key' not allowed"),
        ("options.max_model_len=long", "at '/options/max_model_len': 'long' does not match pattern"),
        ("license.as=argument", "at '/license/as': value must be one of 'environment', 'file'"),
        ("license.publicKeys={nonsense}", "at '/license/publicKeys/0'"),
        ("persistence.size=big", "at '/persistence/size'"),
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
def test_a_wrong_value_is_refused(wrong: str, told: str) -> None:
    assert told in refusal("--set", wrong)


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
def test_what_does_not_go_together_is_refused(options: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(*options)


def test_large_numbers_stay_whole() -> None:
    """Helm has every number of a file as a float, which it would write as 1e+06."""
    documents = rendered(
        *("--set", "options.tokens_per_minute=12000000"),
        *("--set", "extraArgs={--max-num-batched-tokens,1000000}"),
    )
    assert "tokens_per_minute: 12000000\n" in configuration(documents)
    (deployment,) = (each for each in documents if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "1000000"
