"""Which machines belong together, as the options say."""

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.cluster.cluster_config import DEFAULT_PORT, ClusterConfig
from maritalk_vllm.settings import Settings


def group(**given: object) -> ClusterConfig | None:
    return ClusterConfig.from_settings(Settings(**given))  # type: ignore[arg-type]


def test_a_machine_alone_is_no_group() -> None:
    assert group() is None
    assert group(nodes=1, head="10.0.0.1") is None


@pytest.mark.parametrize(
    ("head", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", DEFAULT_PORT),
        ("10.0.0.1:4000", "10.0.0.1", 4000),
        ("leader-0.group.ns.svc", "leader-0.group.ns.svc", DEFAULT_PORT),
        ("leader-0:4000", "leader-0", 4000),
        ("fd00::1", "fd00::1", DEFAULT_PORT),
        ("[fd00::1]", "fd00::1", DEFAULT_PORT),
        ("[fd00::1]:4000", "fd00::1", 4000),
    ],
)
def test_where_the_head_is(head: str, host: str, port: int) -> None:
    made = group(nodes=2, node_rank=1, head=head)
    assert made is not None
    assert (made.head, made.port, made.control_port) == (host, port, port + 1)
    assert not made.is_leader


@pytest.mark.parametrize("head", ["", ":4000", "a:b", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65535", "[fd00::1", "a b"])
def test_a_head_that_cannot_be_read(head: str) -> None:
    with pytest.raises(UsageError, match="--head"):
        group(nodes=2, head=head)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"node_rank": 1}, "--node-rank 1 is out of range for --nodes 1"),
        ({"nodes": 2, "node_rank": 2, "head": "h"}, "from 0 to 1"),
        ({"nodes": 2}, "--nodes 2 needs --head"),
        ({"nodes": 2, "head": "h", "replicas": "2"}, "--replicas 2 is for one node"),
        ({"nodes": 2, "head": "h", "replicas": "auto"}, "--replicas auto is for one node"),
        ({"nodes": 2, "node_rank": 1, "head": "h", "interactive": True}, "--interactive is for node 0"),
    ],
)
def test_what_does_not_go_together(given: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        group(**given)
    assert says in caught.value.message
    assert caught.value.hint
