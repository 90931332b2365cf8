"""The NetworkPolicies: on by default, they open the served port to the clients that the values name, and no other."""

from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, EXAMPLES, Document, helm_error, of_example, rendered, serving, template
from tests.deploy.test_group import SHARED

pytestmark = pytest.mark.deploy

OFF = ("--set", "networkPolicy.enabled=false")
ROUTED = ("--set", "router.enabled=true")
Rules = list[dict[str, Any]]
CLUSTER: Rules = [{"namespaceSelector": {}}]
NAMESPACE: Rules = [{"podSelector": {}}]


def policies(documents: list[Document]) -> list[Document]:
    return [each["spec"] for each in documents if each["kind"] == "NetworkPolicy"]


def rules(documents: list[Document], way: str, labels: dict[str, str]) -> Rules:
    """The rules of all policies that select a pod with these labels."""
    return [
        rule
        for policy in policies(documents)
        if policy["podSelector"].get("matchLabels", {}).items() <= labels.items()
        for rule in policy.get(way, ())
    ]


def of_server(documents: list[Document], way: str = "ingress") -> Rules:
    leader = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
    return rules(documents, way, {**template(serving(documents))["metadata"]["labels"], **leader})


def ports(found: Rules) -> set[object]:
    return {port["port"] for rule in found for port in rule.get("ports", [{"port": "all"}])}


def test_by_default_the_served_port_is_open_in_the_namespace() -> None:
    assert of_server(rendered()) == [{"from": NAMESPACE, "ports": [{"port": "http", "protocol": "TCP"}]}]
    assert all(set(policy["policyTypes"]) == {"Ingress", "Egress"} for policy in policies(rendered()))
    assert policies(rendered(*OFF)) == []


@pytest.mark.parametrize("name", [file.stem for file in EXAMPLES])
def test_every_pod_of_an_example_has_a_policy(name: str) -> None:
    documents = of_example(name)
    for workload in documents:
        if workload["kind"] in ("Deployment", "LeaderWorkerSet", "Job"):
            found = rules(documents, "ingress", template(workload)["metadata"]["labels"])
            assert found, workload["metadata"]["name"]
    assert ports(of_server(documents)) <= {"http", "all"}
    assert ("all" in ports(of_server(documents))) == (name == "large-2-nodes")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((*SHARED, *OFF), "nodes is 2, and networkPolicy.enabled is false: vLLM's own ports"),
        ((*ROUTED, *OFF), "router.enabled is true, and networkPolicy.enabled is false"),
        ((*SHARED, *ROUTED, *OFF), "networkPolicy.enabled is false"),
        ((*ROUTED, "--set", "ingress.enabled=true", "--set", "ingress.hosts={a}"), "networkPolicy.from is empty"),
    ],
)
def test_options_that_need_a_policy_are_rejected_without(options: tuple[str, ...], says: str) -> None:
    error = helm_error(*options)
    assert says in error
    assert "et networkPolicy.enabled to true" in error or "name the Ingress's controller" in error


def test_ray_needs_a_token() -> None:
    ray = (*SHARED, "--set", "group.backend=ray")
    assert "give it in extraEnv, [{name: RAY_AUTH_TOKEN" in helm_error(*ray)
    assert rendered(*ray, "--set", "group.existingSecret=nodes")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        assert rendered(*ray, "--set-json", f'extraEnv=[{{"name": "{name}", "value": "x"}}]')


def test_only_nodes_of_the_group_reach_each_other() -> None:
    """On every port except the served one. The other ports need no key."""
    documents = rendered(*SHARED)
    labels = template(serving(documents))["metadata"]["labels"]
    (own,) = (rule for rule in of_server(documents) if "ports" not in rule)
    (peer,) = own["from"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "maritalk-vllm"
    assert "namespaceSelector" not in peer


@pytest.mark.parametrize(
    ("options", "peers"),
    [
        (("--set", "ingress.enabled=true", "--set", "ingress.hosts={a}"), CLUSTER),
        (("--set", "serviceMonitor.enabled=true"), CLUSTER),
        (("--set", "service.type=LoadBalancer"), None),
        (("--set", "service.type=NodePort"), None),
    ],
)
@pytest.mark.parametrize("nodes", [(), SHARED])
def test_enabled_features_open_the_served_port(
    options: tuple[str, ...], peers: Rules | None, nodes: tuple[str, ...]
) -> None:
    found = [rule for rule in of_server(rendered(*options, *nodes)) if "ports" in rule]
    assert peers in [rule.get("from") for rule in found]
    assert ports(found) == {"http"}
    named = ("--set-json", 'networkPolicy.from=[{"podSelector": {"matchLabels": {"a": "b"}}}]')
    only = [rule["from"] for rule in of_server(rendered(*options, *nodes, *named)) if "ports" in rule]
    assert only == [[{"podSelector": {"matchLabels": {"a": "b"}}}]]


def test_the_router_is_not_opened_to_the_cluster() -> None:
    documents = rendered(*ROUTED, "--set", "serviceMonitor.enabled=true", "--set", "service.type=LoadBalancer")
    (router,) = (each for each in documents if each["kind"] == "Deployment" and "router" in each["metadata"]["name"])
    found = rules(documents, "ingress", template(router)["metadata"]["labels"])
    assert ports([rule for rule in found if rule.get("from") != NAMESPACE]) <= {"metrics", "http"}
    open_to_all = [rule for rule in found if rule.get("from") in (None, CLUSTER)]
    assert ports(open_to_all) == {"metrics"}


def test_configured_external_addresses_are_reachable() -> None:
    environment = '[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "OTHER", "value": "http://x:77"}]'
    documents = rendered(
        *("--set", "license.service=http://licences:9100", "--set-json", f"extraEnv={environment}"),
        *("--set", "options.otlp_traces_endpoint=http://collector:4318/v1/traces"),
    )
    assert ports(of_server(documents, "egress")) == {53, 443, 9100, 3128, 4318}
    closed = rendered("--set", "networkPolicy.allowHTTPS=false", "--set", "license.service=http://licences/x")
    assert ports(of_server(closed, "egress")) == {53, 80}


@pytest.mark.parametrize(
    ("value", "port"),
    [
        ("http://proxy:3128", 3128),
        ("10.0.0.1:3128", 3128),
        ("proxy:3128/", 3128),
        ("user:pass@proxy:3128", 3128),
        ("http://[fd00::1]:3128", 3128),
        ("http://$(USER):$(PASS)@$(HOST):3128/x:1", 3128),
        ("http://proxy:$(PORT)", None),
        ("proxy", 80),
        ("http://100%proxy", 80),
    ],
)
def test_the_port_of_a_proxy_is_opened(value: str, port: int | None) -> None:
    documents = rendered("--set-json", f'extraEnv=[{{"name": "HTTPS_PROXY", "value": "{value}"}}]')
    assert ports(of_server(documents, "egress")) - {53, 443} == {port} - {None}


def test_the_default_is_in_the_values_file() -> None:
    assert yaml.safe_load((CHART / "values.yaml").read_text())["networkPolicy"]["enabled"] is True
