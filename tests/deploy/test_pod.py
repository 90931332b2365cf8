"""The pods: what they may do, how they are asked, and how they are stopped."""

import pytest

from maritalk_vllm.models.profile import find
from tests.deploy.chart import EXAMPLES, configuration, containers, of_example, only, pod, pods, rendered, server

pytestmark = pytest.mark.deploy

NAMES = [file.stem for file in EXAMPLES]


@pytest.mark.parametrize("name", NAMES)
def test_no_container_may_do_more_than_it_has_to(name: str) -> None:
    documents = of_example(name)
    for each in pods(documents):
        # The router alone asks the cluster anything.
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
def test_every_mount_has_its_volume_and_every_volume_its_mount(name: str) -> None:
    for each in pods(of_example(name)):
        mounted = {
            mount["name"]
            for container in (*each.get("initContainers", ()), *each["containers"])
            for mount in container.get("volumeMounts", ())
        }
        assert mounted == {volume["name"] for volume in each.get("volumes", ())}


def test_what_is_written_to_is_there() -> None:
    """The root is read-only: the cache, temporary files, the log and shared memory have folders of their own."""
    mounts = {mount["mountPath"]: mount for mount in server(of_example("small-a10"))["volumeMounts"]}
    for path in ("/cache", "/tmp", "/var/log/maritalk-vllm", "/dev/shm"):
        assert not mounts[path].get("readOnly")
    volumes = {volume["name"]: volume for volume in pod(of_example("small-a10"))["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_has_longer_than_its_requests(name: str) -> None:
    documents = of_example(name)
    (line,) = (line for line in configuration(documents).splitlines() if line.startswith("drain_timeout: "))
    drain = float(line.removeprefix("drain_timeout: "))
    pause = float(server(documents)["lifecycle"]["preStop"]["exec"]["command"][1])
    # docs/operations.md: longer than --drain-timeout and ten seconds.
    assert pod(documents)["terminationGracePeriodSeconds"] >= pause + drain + 10


@pytest.mark.parametrize("seconds", [0, 30, 3600])
def test_the_drain_is_one_value(seconds: int) -> None:
    documents = rendered("--set", f"drain.timeoutSeconds={seconds}")
    assert f"drain_timeout: {seconds}\n" in configuration(documents)
    assert pod(documents)["terminationGracePeriodSeconds"] == seconds + 25


def test_the_probes() -> None:
    container = server(rendered())
    startup, readiness, liveness = (container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness"))
    assert startup["httpGet"] == readiness["httpGet"] == {"path": "/readyz", "port": "http", "scheme": "HTTP"}
    assert liveness["httpGet"] == {"path": "/livez", "port": "http", "scheme": "HTTP"}
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1800
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]


def test_a_long_load_is_no_failed_rollout() -> None:
    documents = rendered("--set", "probes.startup.failureThreshold=1000")
    assert server(documents)["startupProbe"]["failureThreshold"] == 1000
    assert only(documents, "Deployment")["spec"]["progressDeadlineSeconds"] > 5000


def test_https_is_asked_as_such() -> None:
    documents = of_example("air-gapped")
    container = server(documents)
    for kind in ("startup", "readiness", "liveness"):
        assert container[f"{kind}Probe"]["httpGet"]["scheme"] == "HTTPS"
    assert "ssl_certfile: /etc/maritalk-tls/tls.crt\n" in configuration(documents)


def test_the_checks_run_as_the_server_does() -> None:
    """With its GPUs, memory, options and secrets: or else they would tell of another start."""
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
    # Its end is what `kubectl describe` shows.
    assert doctor["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert log["restartPolicy"] == "Always"


def test_gpus_are_limits() -> None:
    assert server(of_example("medium-2xa100"))["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert "limits" not in server(of_example("demo-cpu"))["resources"]
    both = rendered("--set", "gpus=1", "--set", "gpuResource=nvidia.com/mig-1g.10gb", "--set", "resources.limits.cpu=8")
    assert server(both)["resources"] == {"limits": {"cpu": 8, "nvidia.com/mig-1g.10gb": 1}}


@pytest.mark.parametrize(("model", "example"), [("small", "small-a10"), ("medium", "medium-2xa100")])
def test_memory_is_what_the_profile_asks_for(model: str, example: str) -> None:
    profile = find(model)
    assert profile is not None
    assert server(of_example(example))["resources"]["requests"]["memory"] == f"{profile.host_memory_gb:g}G"
