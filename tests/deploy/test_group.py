"""A model on several nodes: a LeaderWorkerSet replaces the Deployment, with options, policies and scaling to match."""

import json
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest

from maritalk_vllm.settings import environment_variable
from tests.deploy.chart import Document, configuration, of_example, only, pod, rendered, server, serving, template
from tests.deploy.test_configuration import placed
from tests.deploy.test_values import SET_BY_THE_GROUP
from tests.serving import BIN

pytestmark = pytest.mark.deploy

LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
SHARED = ("--set", "nodes=2", "--set", "persistence.accessModes={ReadWriteMany}")
SCALED = (*SHARED, "--set", "autoscaling.enabled=true", "--set", "autoscaling.maxReplicas=8")
PROMETHEUS = ("--set", "autoscaling.keda.serverAddress=http://prometheus:9090")


KNOWN_BY_THE_GROUP = {environment_variable(option) for option in SET_BY_THE_GROUP}


def variables(container: Document) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container["env"]}


def test_a_group_has_a_pod_on_each_node() -> None:
    documents = of_example("large-2-nodes")
    group = serving(documents)
    assert (group["kind"], group["spec"]["replicas"]) == ("LeaderWorkerSet", 1)
    assert group["spec"]["leaderWorkerTemplate"]["size"] == 2
    # Leader and workers are one template, with the GPUs of one node.
    assert "leaderTemplate" not in group["spec"]["leaderWorkerTemplate"]
    assert server(documents)["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert not [each for each in documents if each["kind"] == "Deployment"]


def test_a_groups_pods_equal_those_of_the_deployment() -> None:
    """Except for the variables that identify the node."""
    alone, grouped = (deepcopy(template(serving(rendered(*SHARED, "--set", f"nodes={nodes}")))) for nodes in (1, 2))
    for container in (*grouped["spec"]["containers"], *grouped["spec"]["initContainers"][:2]):
        container["env"] = [each for each in container["env"] if each["name"] not in KNOWN_BY_THE_GROUP]
    assert grouped == alone


def test_each_pod_has_the_variables_of_its_node() -> None:
    """In the checks, too: a plan for a single node would reject a model that needs two."""
    documents = of_example("large-2-nodes")
    doctor, plan, _ = pod(documents)["initContainers"]
    for container in (doctor, plan, server(documents)):
        assert {name: value for name, value in variables(container).items() if name in KNOWN_BY_THE_GROUP} == {
            "MARITALK_NODES": "$(LWS_GROUP_SIZE)",
            "MARITALK_NODE_RANK": "$(LWS_WORKER_INDEX)",
            "MARITALK_HEAD": "$(LWS_LEADER_ADDRESS)",
            "MARITALK_DISTRIBUTED_BACKEND": "mp",
        }
    # Without a group nothing sets those variables, and an unexpanded reference would be used as a value.
    for container in (*only(documents, "Job")["spec"]["template"]["spec"]["containers"], server(rendered())):
        assert not variables(container).keys() & KNOWN_BY_THE_GROUP


def test_the_nodes_secret_is_mounted_where_the_server_reads_it() -> None:
    """In each container that has the group's options."""
    documents = rendered(*SHARED, "--set", "group.existingSecret=nodes", "--set", "group.secretKey=key")
    (volume,) = (each for each in pod(documents)["volumes"] if each["name"] == "nodes-secret")
    assert volume["secret"] == {
        "secretName": "nodes",
        "defaultMode": 0o440,
        "items": [{"key": "key", "path": "secret"}],
    }
    doctor, plan, _ = pod(documents)["initContainers"]
    for container in (doctor, plan, server(documents)):
        (mount,) = (each for each in container["volumeMounts"] if each["name"] == "nodes-secret")
        assert f"nodes_secret_file: {mount['mountPath']}/secret\n" in configuration(documents)
    alone = rendered("--set", "group.existingSecret=nodes")
    assert "nodes_secret_file" not in configuration(alone)
    assert "nodes-secret" not in json.dumps(alone)


def test_the_service_selects_the_leader_only() -> None:
    for options, more in ((SHARED, LEADER), ((), {})):
        documents = rendered(*options)
        labels = template(serving(documents))["metadata"]["labels"]
        selector = only(documents, "Service")["spec"]["selector"]
        assert selector.items() - labels.items() == more.items()


def test_the_headless_service_of_a_group_has_another_name() -> None:
    """Otherwise the controller would find the chart's Service, and create no headless one."""
    documents = of_example("large-2-nodes")
    assert only(documents, "Service")["metadata"]["name"] == serving(documents)["metadata"]["name"]
    assert serving(documents)["spec"]["networkConfig"] == {"subdomainPolicy": "UniquePerReplica"}


def test_a_group_may_be_placed_in_one_topology() -> None:
    annotation = "leaderworkerset.sigs.k8s.io/exclusive-topology"
    label = "topology.kubernetes.io/rack"
    metadata = serving(rendered(*SHARED, "--set", f"group.exclusiveTopology={label}"))["metadata"]
    assert metadata["annotations"] == {annotation: label}
    # Not by default: without nodes of that label, no pod could be scheduled.
    assert "annotations" not in serving(of_example("large-2-nodes"))["metadata"]


def test_a_group_is_updated_without_surge() -> None:
    spec = serving(of_example("large-2-nodes"))["spec"]
    assert spec["rolloutStrategy"]["rollingUpdateConfiguration"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert spec["startupPolicy"] == "LeaderCreated"
    assert spec["leaderWorkerTemplate"]["restartPolicy"] == "None"
    other = serving(rendered(*SHARED, "--set", "group.restartPolicy=RecreateGroupOnPodRestart"))["spec"]
    assert other["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"


@pytest.mark.parametrize(
    ("options", "scaler"),
    [((*SCALED, *PROMETHEUS), "ScaledObject"), ((*SCALED, "--set", "autoscaling.kind=hpa"), "HorizontalPodAutoscaler")],
)
def test_the_scaler_scales_groups(options: tuple[str, ...], scaler: str) -> None:
    for nodes in ("1", "2"):
        documents = rendered(*options, "--set", f"nodes={nodes}")
        workload = serving(documents)
        assert only(documents, scaler)["spec"]["scaleTargetRef"] == {
            "apiVersion": workload["apiVersion"],
            "kind": workload["kind"],
            "name": workload["metadata"]["name"],
        }
        assert "replicas" not in workload["spec"]


def test_the_disruption_budget_covers_all_groups() -> None:
    documents = of_example("large-2-nodes")
    selector = only(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template(serving(documents))["metadata"]["labels"].items()


def test_the_network_policy_connects_the_nodes_of_a_group() -> None:
    """On every port: the kernel chooses those of gloo and NCCL."""
    documents = of_example("large-2-nodes")
    policy = only(documents, "NetworkPolicy", "maritalk-vllm-group")["spec"]
    (source,), (target,) = (rule["from"] for rule in policy["ingress"]), (rule["to"] for rule in policy["egress"])
    assert source == target == [{"podSelector": policy["podSelector"]}]
    assert "ports" not in policy["ingress"][0] | policy["egress"][0]
    # A single pod has no peers.
    assert only(rendered("--set", "networkPolicy.enabled=true"), "NetworkPolicy")["metadata"]["name"] == "maritalk-vllm"


def test_only_the_whole_group_holds_the_model(tmp_path: Path) -> None:
    """With the example's GPUs: tensor parallel within a node, pipeline parallel between nodes."""
    documents = of_example("large-2-nodes")
    gpus = server(documents)["resources"]["limits"]["nvidia.com/gpu"]
    nodes = serving(documents)["spec"]["leaderWorkerTemplate"]["size"]
    environment = placed("large-2-nodes", tmp_path)
    plan: list[str | Path] = [BIN / "maritalk-vllm", "plan", "--gpus"]
    alone = subprocess.run([*plan, f"{gpus}xA10"], env=environment, capture_output=True, text=True)
    assert alone.returncode == 5, alone.stderr
    group = [*plan, f"{nodes} nodes of {gpus}xA10", "--json"]
    together = subprocess.run(group, env=environment, capture_output=True, text=True)
    assert together.returncode == 0, together.stderr
    planned = json.loads(together.stdout)
    assert (planned["tensor_parallel_size"], planned["pipeline_parallel_size"]) == (gpus, nodes)
