"""Licences and API keys are only in Secrets."""

import base64
import json
import re
from pathlib import Path

import pytest
import yaml

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.models.catalogue import find
from maritalk_vllm.server.middleware.api_keys import ApiKeys, read_key_file
from tests.deploy.chart import configuration, example, of_example, only, pod, rendered, server, template

pytestmark = pytest.mark.deploy

SECRET = "6NK44-SZ8PR-YATKY-JMP4Z"


@pytest.mark.parametrize("kind", ["environment", "file"])
def test_secret_values_are_only_in_secrets(kind: str) -> None:
    documents = rendered(
        *("--set", "download.enabled=true", "--set", f"license.as={kind}"),
        *("--set", f"license.key={SECRET}", "--set", "apiKeys.keys={key-one,key-two}"),
    )
    held = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "Secret"}
    decoded = {name: {k: base64.b64decode(v).decode() for k, v in data.items()} for name, data in held.items()}
    metrics = decoded["maritalk-vllm-api-keys"]["metrics"]
    assert re.fullmatch("metrics-[0-9a-f]{64}", metrics)
    keys = f"key-one\nkey-two\n{metrics} # name: prometheus, scope: metrics"
    assert decoded == {
        "maritalk-vllm-license": {"license": SECRET},
        "maritalk-vllm-api-keys": {"keys": keys, "metrics": metrics},
    }
    others = json.dumps([each for each in documents if each["kind"] != "Secret"])
    for secret in (SECRET, "key-one", "key-two", metrics):
        assert secret not in others
        assert base64.b64encode(secret.encode()).decode() not in others
    variables = {variable["name"]: variable for variable in server(documents)["env"]}
    given = ("MARITALK_LICENSE" in variables, "license: /etc/maritalk-license/license\n" in configuration(documents))
    assert given == (kind == "environment", kind == "file")
    assert "api_key_file: /etc/maritalk-keys/keys\n" in configuration(documents)


def test_the_token_of_hugging_face_is_optional_and_reaches_every_container_that_downloads() -> None:
    documents = rendered("--values", str(example("open-a10")), "--set", "download.enabled=true")
    doctor, plan, _ = pod(documents)["initContainers"]
    (download,) = template(only(documents, "Job"))["spec"]["containers"]
    for container in (doctor, plan, server(documents), download):
        (token,) = (each for each in container["env"] if each["name"] == "HF_TOKEN")
        assert token["valueFrom"] == {"secretKeyRef": {"name": "huggingface", "key": "token", "optional": True}}
    served = find(yaml.safe_load(configuration(documents))["model"])
    assert served is not None and not served.must_be_accepted


def test_the_key_for_prometheus_has_the_scope_metrics(tmp_path: Path) -> None:
    secret = only(rendered("--set", "apiKeys.keys={key-one}"), "Secret", "maritalk-vllm-api-keys")
    file = tmp_path / "keys"
    file.write_bytes(base64.b64decode(secret["data"]["keys"]))
    keys = ApiKeys((), read_key_file(file).keys)
    one, prometheus = keys.match("key-one"), keys.match(base64.b64decode(secret["data"]["metrics"]).decode())
    assert one and prometheus
    assert (keys.scope_of(one), keys.scope_of(prometheus), keys.label_of(prometheus)) == ("", "metrics", "prometheus")


def test_existing_secrets_are_used() -> None:
    documents = of_example("small-a10")
    assert not [each for each in documents if each["kind"] == "Secret"]
    (license,) = (each for each in server(documents)["env"] if each["name"] == "MARITALK_LICENSE")
    assert license["valueFrom"]["secretKeyRef"] == {"name": "maritalk-license", "key": "license"}
    (keys,) = (each for each in pod(documents)["volumes"] if each["name"] == "api-keys")
    assert keys["secret"]["secretName"] == "maritalk-keys"
    assert keys["secret"]["defaultMode"] == 0o440


def test_the_demo_model_uses_the_evaluation_key() -> None:
    secret = only(of_example("demo-cpu"), "Secret")
    assert base64.b64decode(secret["data"]["license"]).decode() == EVALUATION_KEY
