"""Run the pods' commands locally: our programs accept the rendered configuration."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from maritalk_vllm.cli.config_file import read_config
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.settings import Settings
from tests.deploy.chart import EXAMPLES, configuration, example, of_example, only, pod, rendered
from tests.serving import BIN

pytestmark = pytest.mark.deploy

GPUS = {
    **dict.fromkeys(("open-a10", "small-a10", "autoscaled", "air-gapped", "routed"), "1xA10"),
    "medium-2xa100": "2xA100-40GB",
}


def placed(name: str, folder: Path) -> dict[str, str]:
    """The environment of an example's containers, with the pod's volumes as local folders."""
    documents = of_example(name)
    text = configuration(documents)
    for mount in ("/cache", "/data", "/var/log/maritalk-vllm", "/etc/maritalk-license", "/etc/maritalk"):
        text = text.replace(f" {mount}/", f" {folder}{mount}/")
        (folder / mount[1:]).mkdir(parents=True, exist_ok=True)
    for file, content in only(documents, "ConfigMap")["data"].items():
        (folder / "etc" / "maritalk" / file).write_text(content)
    (folder / "etc" / "maritalk" / "maritalk.yaml").write_text(text)
    return {**os.environ, "MARITALK_CONFIG": str(folder / "etc" / "maritalk" / "maritalk.yaml")}


@pytest.mark.parametrize("name", [file.stem for file in EXAMPLES])
def test_every_rendered_option_is_known(name: str, tmp_path: Path) -> None:
    placed(name, tmp_path)
    options = read_config(tmp_path / "etc" / "maritalk" / "maritalk.yaml").values
    assert options["device"] == ("cpu" if options["model"] == "demo" else "cuda")
    assert options["cache_dir"] == f"{tmp_path}/cache/maritalk-vllm"


def test_allowed_hosts_include_services_and_ingress() -> None:
    hosts = ("--set", "ingress.enabled=true", "--set", "ingress.hosts={chat.example.org}")
    options = (
        *hosts,
        "--set",
        "router.enabled=true",
        "--set",
        "options.allowed_host={other.example.org,maritalk-vllm}",
        "--set-json",
        'networkPolicy.from=[{"podSelector": {"matchLabels": {"app": "ingress"}}}]',
    )
    names = yaml.safe_load(configuration(rendered(*options)))["allowed_host"]
    services = [f"{name}{end}" for name in ("maritalk-vllm", "maritalk-vllm-router") for end in ("", *ENDS)]
    assert names == [*services, "chat.example.org", "other.example.org"]
    assert AccessConfig.from_settings(Settings(allowed_host=tuple(names))).allowed_hosts == tuple(names)


ENDS = (".llm", ".llm.svc", ".llm.svc.cluster.local")


def test_the_checks_of_the_demo_model_pass(tmp_path: Path) -> None:
    """With the pod's own commands, except the port, which another server may use."""
    environment = placed("demo-cpu", tmp_path) | {"MARITALK_LICENSE": EVALUATION_KEY, "MARITALK_PORT": "0"}
    for container in pod(of_example("demo-cpu"))["initContainers"][:2]:
        program, *words = container["command"]
        result = subprocess.run([BIN / program, *words], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "SmolLM2-135M-Instruct" in result.stdout


@pytest.mark.parametrize("name", GPUS)
def test_the_gpus_of_an_example_hold_its_model(name: str, tmp_path: Path) -> None:
    environment = placed(name, tmp_path)
    command: list[str | Path] = [BIN / "maritalk-vllm", "plan", "--gpus", GPUS[name]]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    count = int(GPUS[name].partition("x")[0])
    assert pod(of_example(name))["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == count
    assert f" fits: {count} x NVIDIA A1" in result.stdout
    for users in re.findall(r"([\d.]+) requests of [\d,]+ tokens at once", example(name).read_text()):
        assert re.search(rf"^users at full context +{re.escape(users)}$", result.stdout, re.MULTILINE)


def test_the_log_container_follows_the_log_and_stops_on_sigterm(tmp_path: Path) -> None:
    """Also a new log file, which each start of the server creates. Kubernetes stops a sidecar with SIGTERM."""
    (container,) = (each for each in pod(of_example("demo-cpu"))["initContainers"] if each["name"] == "log")
    log = tmp_path / "serve.log"
    command = [word.replace("/var/log/maritalk-vllm", str(tmp_path)) for word in container["command"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        for line in ("first\n", "second\n"):
            begun = tmp_path / "begun"
            begun.write_text(line)
            begun.replace(log)
            assert follower.stdout.readline() == line
        follower.terminate()
        assert follower.wait(timeout=5) == 0
        assert follower.stdout.read() == ""
