"""docker-compose.yml: valid by the Compose specification, and all its files and names exist.

compose-spec.json is schema/compose-spec.json of github.com/compose-spec/compose-spec (Apache-2.0), commit 170098b.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.settings import Settings
from tests.documents.pages import ROOT, read
from tests.observability.queries import promtool

pytestmark = pytest.mark.deploy

SCHEMA = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
FILES = ("docker-compose.yml", "deploy/compose/gpu.yaml")


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


COMPOSE = load(FILES[0])
SERVICES: dict[str, Any] = COMPOSE["services"]
PROMETHEUS = load("deploy/compose/prometheus.yaml")


def mounts(service: str) -> dict[str, str]:
    """The sources of a service's volumes, by their place in the container."""
    return {place: source for source, place in (each.split(":")[:2] for each in SERVICES[service]["volumes"])}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_valid_by_the_specification(name: str) -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    validator.validate(load(name))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"services": {"maritalk": {"port": 9000}}})


def test_images_are_built_or_pinned_by_a_version() -> None:
    targets = set(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {load(name)["services"]["maritalk"]["build"]["target"] for name in FILES} == {"cpu", "gpu"} <= targets
    for service in ("prometheus", "grafana"):
        assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[service]["image"])


def test_volumes_and_mounted_files_exist() -> None:
    for service in SERVICES:
        for source in mounts(service).values():
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"], source


def test_ports_are_those_of_this_machine() -> None:
    """Without API keys, every client that reaches the port could use the model."""
    assert all(port.startswith("127.0.0.1:") for service in SERVICES.values() for port in service["ports"])


def test_the_servers_variables_are_options() -> None:
    options = {f"MARITALK_{each.name.upper()}" for each in dataclasses.fields(Settings)}
    assert {name for name in SERVICES["maritalk"]["environment"] if name.startswith("MARITALK_")} <= options


def test_an_api_key_reaches_the_server_and_prometheus() -> None:
    """From the shell or .env. Without one the server has no keys, and Prometheus sends a key that it ignores."""
    assert SERVICES["maritalk"]["environment"]["MARITALK_API_KEY"] is None
    (job,), (mounted,) = PROMETHEUS["scrape_configs"], SERVICES["prometheus"]["configs"]
    assert job["authorization"] == {"credentials_file": mounted["target"]}
    assert COMPOSE["configs"][mounted["source"]] == {"content": "${MARITALK_API_KEY:-none}"}


def test_the_variables_to_set_are_those_in_the_page() -> None:
    environment = SERVICES["maritalk"]["environment"]
    taken = {name for name, value in environment.items() if value is None or f"${{{name}:-" in value}
    (listed,) = re.findall(r"^Set (.+) in the shell or in `\.env`", read("docs/container.md"), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", listed)) == taken


def test_the_demo_model_is_served_by_default() -> None:
    """With its licence, without which it would not start."""
    environment = SERVICES["maritalk"]["environment"]
    assert environment["MARITALK_MODEL"] == "${MARITALK_MODEL:-demo}"
    assert environment["MARITALK_LICENSE"] == f"${{MARITALK_LICENSE:-{EVALUATION_KEY}}}"


def test_a_server_is_healthy_when_it_is_ready() -> None:
    assert "http://127.0.0.1:9000/readyz" in SERVICES["maritalk"]["healthcheck"]["test"][-1]
    assert int(SERVICES["maritalk"]["stop_grace_period"].removesuffix("s")) > Settings().drain_timeout + 10


def test_prometheus_scrapes_the_server_by_a_name_that_it_accepts() -> None:
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", ROOT / "deploy" / "compose" / "prometheus.yaml")
    (job,) = PROMETHEUS["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["maritalk:9000"]}]
    assert SERVICES["maritalk"]["environment"]["MARITALK_ALLOWED_HOST"] == "maritalk"
    assert f'job="{job["job_name"]}"' in (ROOT / mounts("prometheus")[PROMETHEUS["rule_files"][0]]).read_text()


def test_grafana_has_the_dashboard_and_its_data() -> None:
    (source,) = load("deploy/compose/grafana-datasource.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = load("deploy/compose/grafana-dashboards.yaml")["providers"]
    assert (ROOT / mounts("grafana")[provider["options"]["path"]] / "maritalk-vllm.json").is_file()
