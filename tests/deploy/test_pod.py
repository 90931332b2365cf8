"""The pods: privileges, volumes, probes, resources and termination."""

import pytest
import yaml

from maritalk_vllm.models.profile import find
from tests.deploy.chart import (
    EXAMPLES,
    Document,
    configuration,
    containers,
    of_example,
    only,
    pod,
    pods,
    rendered,
    server,
)
from tests.documents.pages import blocks

pytestmark = pytest.mark.deploy

NAMES = [file.stem for file in EXAMPLES]


@pytest.mark.parametrize("name", NAMES)
def test_containers_have_minimal_privileges(name: str) -> None:
    documents = of_example(name)
    for each in pods(documents):
        # Only the router uses the cluster's API.
        assert each["automountServiceAccountToken"] is (each["containers"][0]["name"] == "router")
        assert each["securityContext"]["runAsNonRoot"] is True
        assert each["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & each.keys()
        assert all("hostPath" not in volume for volume in each.get("volumes", ()))
    for container in containers(documents):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", NAMES)
def test_mounts_and_volumes_match(name: str) -> None:
    for each in pods(of_example(name)):
        mounted = {
            mount["name"]
            for container in (*each.get("initContainers", ()), *each["containers"])
            for mount in container.get("volumeMounts", ())
        }
        assert mounted == {volume["name"] for volume in each.get("volumes", ())}


def test_written_folders_are_writable_volumes() -> None:
    """The root file system is read-only: cache, batches, temporary files, log and shared memory have volumes."""
    mounts = {mount["mountPath"]: mount for mount in server(of_example("small-a10"))["volumeMounts"]}
    for path in ("/cache", "/data", "/tmp", "/var/log/maritalk-vllm", "/dev/shm"):
        assert not mounts[path].get("readOnly")
    volumes = {volume["name"]: volume for volume in pod(of_example("small-a10"))["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"


def test_files_and_batches_have_a_volume_of_their_own() -> None:
    def volume(*options: str) -> Document:
        documents = rendered(*options)
        assert yaml.safe_load(configuration(documents))["data_dir"].startswith("/data/")
        (found,) = (each for each in pod(documents)["volumes"] if each["name"] == "data")
        return found

    assert volume() == {"name": "data", "emptyDir": {}}
    persistent = ("--set", "batches.persistent=true")
    assert volume(*persistent)["persistentVolumeClaim"] == {"claimName": "maritalk-vllm-data"}
    claim = only(rendered(*persistent, "--set", "batches.size=9Gi"), "PersistentVolumeClaim", "maritalk-vllm-data")
    assert claim["spec"]["resources"] == {"requests": {"storage": "9Gi"}}
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    existing = (*persistent, "--set", "batches.existingClaim=ours")
    assert volume(*existing)["persistentVolumeClaim"] == {"claimName": "ours"}
    assert [each["metadata"]["name"] for each in rendered(*existing) if each["kind"] == claim["kind"]] == [
        "maritalk-vllm"
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_grace_period_exceeds_the_drain_timeout(name: str) -> None:
    documents = of_example(name)
    (line,) = (line for line in configuration(documents).splitlines() if line.startswith("drain_timeout: "))
    drain = float(line.removeprefix("drain_timeout: "))
    pause = float(server(documents)["lifecycle"]["preStop"]["exec"]["command"][1])
    # docs/operations.md: longer than --drain-timeout and ten seconds.
    assert pod(documents)["terminationGracePeriodSeconds"] >= pause + drain + 10


@pytest.mark.parametrize("seconds", [0, 30, 3600])
def test_the_drain_timeout_sets_the_grace_period(seconds: int) -> None:
    documents = rendered("--set", f"drain.timeoutSeconds={seconds}")
    assert f"drain_timeout: {seconds}\n" in configuration(documents)
    assert pod(documents)["terminationGracePeriodSeconds"] == seconds + 25


def test_the_page_shows_the_charts_defaults() -> None:
    (block,) = (each.text for each in blocks("docs/operations.md") if "terminationGracePeriodSeconds" in each.text)
    shown = yaml.safe_load(block)
    spec = pod(rendered())
    assert shown.pop("terminationGracePeriodSeconds") == spec["terminationGracePeriodSeconds"]
    (container,) = spec["containers"]
    (port,) = container["ports"]
    for probe, values in shown.items():
        assert values["httpGet"].pop("port") == port["containerPort"]
        expected = container[probe]
        assert {"port": port["name"], **values.pop("httpGet")}.items() <= expected["httpGet"].items()
        assert values.items() <= expected.items()


def test_the_probes_use_readyz_and_livez() -> None:
    container = server(rendered())
    startup, readiness, liveness = (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
    assert startup["httpGet"] == readiness["httpGet"] == {"path": "/readyz", "port": "http", "scheme": "HTTP"}
    assert liveness["httpGet"] == {"path": "/livez", "port": "http", "scheme": "HTTP"}
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]


def test_the_progress_deadline_exceeds_the_startup_probe() -> None:
    documents = rendered("--set", "probes.startup.failureThreshold=1000")
    assert server(documents)["startupProbe"]["failureThreshold"] == 1000
    assert only(documents, "Deployment")["spec"]["progressDeadlineSeconds"] > 5000


def test_probes_use_https_with_a_certificate() -> None:
    documents = of_example("air-gapped")
    container = server(documents)
    for kind in ("startup", "readiness", "liveness"):
        assert container[f"{kind}Probe"]["httpGet"]["scheme"] == "HTTPS"
    assert "ssl_certfile: /etc/maritalk-tls/tls.crt\n" in configuration(documents)


def test_the_checks_run_with_the_servers_environment() -> None:
    """With the server's GPUs, memory, options and secrets: otherwise they would check a different start."""
    documents = rendered(
        *("--set", "model=small", "--set", "gpus=2", "--set", "license.key=ABCDE-FGHJK"),
        *("--set", "extraArgs={--max-num-seqs,64}"),
    )
    doctor, plan, log = pod(documents)["initContainers"]
    serves = server(documents)
    assert [each["command"] for each in (doctor, plan)] == [["maritalk-vllm", "doctor"], ["maritalk-vllm", "plan"]]
    assert serves["command"] == ["maritalk-serve"]
    for field in ("args", "env", "image", "resources", "volumeMounts"):
        assert doctor[field] == plan[field] == serves[field]
    assert serves["args"] == ["--", "--max-num-seqs", "64"]
    # `kubectl describe` then shows the end of its output.
    assert doctor["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert log["restartPolicy"] == "Always"


def test_gpus_are_resource_limits() -> None:
    assert server(of_example("medium-2xa100"))["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert "limits" not in server(of_example("demo-cpu"))["resources"]
    both = rendered("--set", "gpus=1", "--set", "gpuResource=nvidia.com/mig-1g.10gb", "--set", "resources.limits.cpu=8")
    assert server(both)["resources"] == {"limits": {"cpu": 8, "nvidia.com/mig-1g.10gb": 1}}


@pytest.mark.parametrize(("model", "example"), [("small", "small-a10"), ("medium", "medium-2xa100")])
def test_memory_requests_are_those_of_the_profile(model: str, example: str) -> None:
    profile = find(model)
    assert profile is not None
    assert server(of_example(example))["resources"]["requests"]["memory"] == f"{profile.host_memory_gb:g}G"
