"""Licences and API keys: in Secrets, and nowhere else."""

import base64
import json

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.deploy.chart import configuration, of_example, only, pod, rendered, server

pytestmark = pytest.mark.deploy

SECRET = "6NK44-SZ8PR-YATKY-JMP4Z"


@pytest.mark.parametrize("kind", ["environment", "file"])
def test_secrets_are_in_secrets_alone(kind: str) -> None:
    documents = rendered(
        *("--set", "download.enabled=true", "--set", f"license.as={kind}"),
        *("--set", f"license.key={SECRET}", "--set", "apiKeys.keys={key-one,key-two}"),
    )
    held = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "Secret"}
    decoded = {name: {k: base64.b64decode(v).decode() for k, v in data.items()} for name, data in held.items()}
    assert decoded == {
        "maritalk-vllm-license": {"license": SECRET},
        "maritalk-vllm-api-keys": {"keys": "key-one\nkey-two", "metrics": "key-one"},
    }
    others = json.dumps([each for each in documents if each["kind"] != "Secret"])
    for secret in (SECRET, "key-one", "key-two"):
        assert secret not in others
        assert base64.b64encode(secret.encode()).decode() not in others
    variables = {variable["name"]: variable for variable in server(documents)["env"]}
    given = ("MARITALK_LICENSE" in variables, "license: /etc/maritalk-license/license\n" in configuration(documents))
    assert given == (kind == "environment", kind == "file")
    assert "api_key_file: /etc/maritalk-keys/keys\n" in configuration(documents)


def test_secrets_of_ones_own_are_used() -> None:
    documents = of_example("small-a10")
    assert not [each for each in documents if each["kind"] == "Secret"]
    (license,) = (each for each in server(documents)["env"] if each["name"] == "MARITALK_LICENSE")
    assert license["valueFrom"]["secretKeyRef"] == {"name": "maritalk-license", "key": "license"}
    (keys,) = (each for each in pod(documents)["volumes"] if each["name"] == "api-keys")
    assert keys["secret"]["secretName"] == "maritalk-keys"
    assert keys["secret"]["defaultMode"] == 0o440


def test_the_demo_model_has_its_licence() -> None:
    secret = only(of_example("demo-cpu"), "Secret")
    assert base64.b64decode(secret["data"]["license"]).decode() == EVALUATION_KEY
