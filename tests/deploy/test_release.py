"""A release: its names and labels, and which changes replace which objects."""

import pytest

from tests.deploy.chart import EXAMPLES, of_example, only, pods, rendered

pytestmark = pytest.mark.deploy


def test_service_links_set_no_options() -> None:
    """For a Service named maritalk, Kubernetes would set MARITALK_PORT=tcp://... by default."""
    documents = rendered("--set", "fullnameOverride=maritalk", "--set", "download.enabled=true")
    assert only(documents, "Service")["metadata"]["name"] == "maritalk"
    assert all(each["enableServiceLinks"] is False for each in pods(documents))


def test_names_and_labels_have_at_most_63_characters() -> None:
    documents = rendered("--set", "download.enabled=true", "--values", str(EXAMPLES[0]), release="a" * 53)
    for each in documents:
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_the_service_selects_only_servers() -> None:
    documents = of_example("autoscaled")
    selector = only(documents, "Service")["spec"]["selector"]
    deployment, job = only(documents, "Deployment"), only(documents, "Job")
    assert selector == deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_a_changed_download_has_another_job_name() -> None:
    """A Job is immutable: an upgrade that changed it would fail."""
    first, same, other = (
        only(rendered("--set", "download.enabled=true", *more), "Job")["metadata"]["name"]
        for more in ((), ("--set", "service.port=80"), ("--set", "image.tag=0.2.0"))
    )
    assert first == same
    assert first != other


def test_a_changed_configuration_restarts_the_pods() -> None:
    before, after = (
        only(rendered(*more), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for more in ((), ("--set", "options.time_unit=s"))
    )
    assert before["checksum/config"] != after["checksum/config"]
    assert before["checksum/license"] == after["checksum/license"]


def test_autoscaling_leaves_replicas_unset() -> None:
    assert only(rendered("--set", "replicas=3"), "Deployment")["spec"]["replicas"] == 3
    documents = of_example("autoscaled")
    assert "replicas" not in only(documents, "Deployment")["spec"]
    waiting, cache = only(documents, "ScaledObject")["spec"]["triggers"]
    where = '{namespace="llm",service="maritalk-vllm"}'
    assert waiting["metadata"]["query"] == f"sum(vllm:num_requests_waiting{where})"
    assert cache["metadata"]["query"] == f"avg(vllm:kv_cache_usage_perc{where})"
    assert (waiting["metadata"]["threshold"], cache["metadata"]["threshold"]) == ("4", "0.85")
