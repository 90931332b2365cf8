"""Run the documents' commands of helm and kubectl, as far as they need no cluster."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from tests.deploy.chart import (
    CHART,
    EXAMPLES,
    ROOT,
    Document,
    example,
    of_example,
    only,
    pod,
    rendered,
    serving,
    template,
    tool,
)
from tests.deploy.test_schemas import OLDEST, check
from tests.documents.pages import blocks, read, steps

pytestmark = pytest.mark.deploy

PAGE = "docs/kubernetes.md"
CHART_PAGE = "deploy/helm/maritalk-vllm/README.md"
COPY = re.compile(r"cp deploy/examples/([\w-]+)\.yaml my-values\.yaml")
UNINSTALL = "helm uninstall maritalk-vllm --namespace llm"
KUBECTL = [step.command for step in steps(PAGE) if step.command.startswith("kubectl ")]


def of_helm(page: str) -> Iterator[tuple[str, str]]:
    """Each command of helm, with the example that was last copied to my-values.yaml."""
    copied = ""
    for step in steps(page):
        if copy := COPY.fullmatch(step.command):
            copied = copy[1]
        elif step.command.startswith("helm "):
            yield step.command, copied


HELM = [each for page in (PAGE, CHART_PAGE) for each in of_helm(page)]


def by_hand() -> list[Document]:
    """The documents of deploy/weights.yaml, which is applied without the chart."""
    return list(yaml.safe_load_all((ROOT / "deploy" / "weights.yaml").read_text()))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which the pages' commands find deploy/, and may write."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    return tmp_path


@pytest.mark.parametrize(("command", "copied"), [each for each in HELM if each[0] != UNINSTALL])
def test_a_helm_command_renders(command: str, copied: str, checkout: Path) -> None:
    """Installations and upgrades are rendered, which reads the same files and rejects the same values."""
    assert " --values " not in command or " --values my-values.yaml" in command
    if copied:
        shutil.copy(example(copied), checkout / "my-values.yaml")
    offline = re.sub(r"^helm (install|upgrade --install) ", "helm template ", command)
    result = tool("bash", "-c", offline, folder=checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()


@pytest.mark.parametrize("command", [each for each in KUBECTL if " create " in each])
def test_a_kubectl_create_command_is_valid(command: str, checkout: Path) -> None:
    (checkout / "api-keys.txt").write_text("one\n")
    (checkout / "licence.txt").write_text("eyJ.a.b\n")
    certificate = trustme.CA().issue_cert("maritalk.example.org")
    certificate.private_key_pem.write_to_path(checkout / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(checkout / "cert.pem")
    result = tool("bash", "-c", f"{command} --dry-run=client --output=json", folder=checkout)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", [each for each in KUBECTL if " create " not in each])
def test_objects_of_kubectl_commands_exist(command: str) -> None:
    """kubectl accepts the options, and the chart creates the named objects."""
    result = tool(*shlex.split(command), "--help")
    assert result.returncode == 0, result.stderr
    (verb,) = re.findall(r"^Usage:\n  kubectl ([a-z-]+(?: [a-z]+)?)", result.stdout, re.MULTILINE)
    assert command.startswith(f"kubectl -n llm {verb} ")
    documents = of_example("open-a10")
    installed = [each for name in ("open-a10", "large-2-nodes", "routed") for each in of_example(name)]
    named = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in (*installed, *by_hand())}
    assert set(re.findall(r"\b(?:deployment|leaderworkerset|service|pod)/\S+", command)) <= named
    assert all((ROOT / file).is_file() for file in re.findall(r" --filename=(\S+)", command))
    containers = {each["name"] for each in (*pod(documents)["initContainers"], *pod(documents)["containers"])}
    assert set(re.findall(r" -c (\S+)", command)) <= containers
    for label, value in re.findall(r" -l (\S+)=(\S+)", command):
        assert template(serving(documents))["metadata"]["labels"][label] == value


def test_the_installed_release_is_uninstalled() -> None:
    commands = [command for command, _ in HELM]
    assert UNINSTALL in commands
    assert any(each.startswith("helm install maritalk-vllm ") and "--namespace llm " in each for each in commands)


def test_the_pages_secrets_are_those_of_the_examples() -> None:
    made = set(re.findall(r"secret generic (\S+) --from-(?:literal|file)=([\w.]+?)(?==|$)", "\n".join(KUBECTL), re.M))
    used = {("maritalk-license", "license"), ("maritalk-keys", "keys"), ("maritalk-license", "licence.txt")}
    assert made == used | {("maritalk-metrics", "token"), ("huggingface", "token")}
    for name in ("open-a10", "small-a10", "large-2-nodes", "routed", "air-gapped"):
        assert named_secrets(name) <= {secret for secret, _ in made} | {"maritalk-tls", "registry"}
    for name in ("small-a10", "air-gapped"):
        sources = str([pod(of_example(name))["containers"][0]["env"], pod(of_example(name))["volumes"]])
        (entry,) = {key for secret, key in made if secret == "maritalk-license" and f"'key': '{key}'" in sources}
        assert entry == {"small-a10": "license", "air-gapped": "licence.txt"}[name]


def named_secrets(name: str) -> set[str]:
    """The Secrets that an example expects to exist."""
    text = example(name).read_text()
    found = set(re.findall(r"(?:existingSecret|secretName|authorization: {name|pullSecrets: \[{name): ([\w-]+)", text))
    assert found
    return found


def test_the_weights_are_copied_to_the_servers_cache() -> None:
    """As the server's user, on its nodes, with its image, into the model's folder on its cache volume."""
    claim, copying = by_hand()
    serves = pod(of_example("air-gapped"))
    (server,) = serves["containers"]
    (copy,) = copying["spec"]["containers"]
    for document in (claim, copying):
        check(document, OLDEST)
    assert copy["image"] == server["image"]
    (volume,) = copying["spec"]["volumes"]
    assert volume in serves["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert copy["volumeMounts"][0] in server["volumeMounts"]
    assert copying["spec"]["securityContext"].items() <= serves["securityContext"].items()
    for placed in ("nodeSelector", "tolerations", "imagePullSecrets"):
        assert copying["spec"][placed] == serves[placed]
    (target,) = re.findall(rf" cp small {copying['metadata']['name']}:(\S+)", "\n".join(KUBECTL))
    caches = {each["name"]: each.get("value") for each in server["env"]}
    assert target == f"{caches['XDG_CACHE_HOME']}/maritalk-vllm/models/small"
    assert f"mkdir -p {target.removesuffix('/small')} " in copy["command"][-1]


def test_the_alerts_become_a_rule_for_the_scraped_job(checkout: Path) -> None:
    """The ServiceMonitor names no jobLabel, so that the operator's job is the name of the Service."""
    (command,) = (step.command for step in steps(PAGE) if "PrometheusRule" in step.command)
    result = tool("bash", "-c", command.replace("kubectl -n llm apply --filename=-", "cat"), folder=checkout)
    rule = yaml.safe_load(result.stdout)
    monitored = ("--set", "serviceMonitor.enabled=true")
    service, monitor = (only(rendered(*monitored), kind)["metadata"] for kind in ("Service", "ServiceMonitor"))
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["metadata"]["name"] == monitor["name"]
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text()
    assert rule["spec"] == yaml.safe_load(alerts.replace('job="maritalk"', f'job="{service["name"]}"'))
    assert set(re.findall(r'job="([^"]*)"', str(rule["spec"]))) == {service["name"]}
    assert "jobLabel" not in only(rendered(*monitored), "ServiceMonitor")["spec"]
    named = only(rendered(*monitored, release="prod"), "Service")["metadata"]["name"]
    assert f"for a release `prod` `{named}`" in read(PAGE)


def test_prometheus_sends_the_key_of_the_pages_secret(tmp_path: Path) -> None:
    """The page's values, in the file that the page installs."""
    (block,) = (each.text for each in blocks(PAGE) if each.language == "yaml")
    values = tmp_path / "my-values.yaml"
    values.write_text(block)
    monitor = only(rendered("--values", str(example("open-a10")), "--values", str(values)), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    (made,) = re.findall(r"secret generic (maritalk-metrics) --from-literal=(\w+)=", "\n".join(KUBECTL))
    assert (credentials["name"], credentials["key"]) == made
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_documented_ray_version_is_that_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (command,) = (step.command for step in steps(PAGE) if "pip install" in step.command)
    assert f'"{extras["ray"][0]}"' in command


def test_the_charts_page_lists_every_example() -> None:
    text = (CHART / "README.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+\.yaml)` \|", text, re.M)) == {file.name for file in EXAMPLES}


def test_the_links_of_the_charts_page_have_targets() -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / CHART_PAGE).read_text()):
        assert (CHART / link).exists(), link
    assert blocks(CHART_PAGE)


def test_the_values_in_the_page_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`([a-z]\w+\.[a-zA-Z.]+)(?:: .*?)?`", read(PAGE))
    for name in {name for name in named if name.partition(".")[0] in values}:
        value = values
        for part in name.split("."):
            assert part in value, name
            value = value[part]
    assert {"image.repository", "image.pullSecrets", "license.service", "persistence.storageClassName"} <= set(named)
