"""What a release is together: names, labels, and what a change of it replaces."""

import pytest

from tests.deploy.chart import EXAMPLES, of_example, only, pods, rendered

pytestmark = pytest.mark.deploy


def test_no_service_becomes_an_option() -> None:
    """Kubernetes would set MARITALK_PORT=tcp://... for a Service that is called maritalk."""
    documents = rendered("--set", "fullnameOverride=maritalk", "--set", "download.enabled=true")
    assert only(documents, "Service")["metadata"]["name"] == "maritalk"
    assert all(each["enableServiceLinks"] is False for each in pods(documents))


def test_names_are_short_enough() -> None:
    documents = rendered("--set", "download.enabled=true", "--values", str(EXAMPLES[0]), release="a" * 53)
    for each in documents:
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_the_service_sends_requests_to_servers_alone() -> None:
    documents = of_example("autoscaled")
    selector = only(documents, "Service")["spec"]["selector"]
    deployment, job = only(documents, "Deployment"), only(documents, "Job")
    assert selector == deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_a_changed_download_is_another_job() -> None:
    """A Job cannot be changed: an upgrade that tried to would fail."""
    first, same, other = (
        only(rendered("--set", "download.enabled=true", *more), "Job")["metadata"]["name"]
        for more in ((), ("--set", "service.port=80"), ("--set", "image.tag=0.2.0"))
    )
    assert first == same
    assert first != other


def test_a_changed_configuration_is_another_pod() -> None:
    before, after = (
        only(rendered(*more), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for more in ((), ("--set", "options.time_unit=s"))
    )
    assert before["checksum/config"] != after["checksum/config"]
    assert before["checksum/license"] == after["checksum/license"]


def test_autoscaling_owns_the_number_of_pods() -> None:
    assert only(rendered("--set", "replicas=3"), "Deployment")["spec"]["replicas"] == 3
    documents = of_example("autoscaled")
    assert "replicas" not in only(documents, "Deployment")["spec"]
    waiting, cache = only(documents, "ScaledObject")["spec"]["triggers"]
    where = '{namespace="llm",service="maritalk-vllm"}'
    assert waiting["metadata"]["query"] == f"sum(vllm:num_requests_waiting{where})"
    assert cache["metadata"]["query"] == f"avg(vllm:kv_cache_usage_perc{where})"
    assert (waiting["metadata"]["threshold"], cache["metadata"]["threshold"]) == ("4", "0.85")
