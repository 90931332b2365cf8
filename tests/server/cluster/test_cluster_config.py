"""The group that the options describe."""

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.cluster.cluster_config import DEFAULT_PORT, ClusterConfig
from maritalk_vllm.settings import Settings


def group(**options: object) -> ClusterConfig | None:
    return ClusterConfig.from_settings(Settings(**options))  # type: ignore[arg-type]


def test_single_node_has_no_group() -> None:
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
def test_head_is_split_into_host_and_port(head: str, host: str, port: int) -> None:
    config = group(nodes=2, node_rank=1, head=head)
    assert config is not None
    assert (config.head, config.port, config.control_port) == (host, port, port + 1)
    assert not config.is_leader


@pytest.mark.parametrize("head", ["", ":4000", "a:b", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65535", "[fd00::1", "a b"])
def test_invalid_head_is_rejected(head: str) -> None:
    with pytest.raises(UsageError, match="--head"):
        group(nodes=2, head=head)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"node_rank": 1}, "--node-rank 1 is out of range for --nodes 1"),
        ({"nodes": 2, "node_rank": 2, "head": "h"}, "from 0 to 1"),
        ({"nodes": 2}, "--nodes 2 needs --head"),
        ({"nodes": 2, "head": "h", "replicas": "2"}, "--replicas 2 is for one node"),
        ({"nodes": 2, "head": "h", "replicas": "auto"}, "--replicas auto is for one node"),
        ({"nodes": 2, "node_rank": 1, "head": "h", "interactive": True}, "--interactive is for node 0"),
    ],
)
def test_inconsistent_options_are_rejected(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        group(**options)
    assert message in caught.value.message
    assert caught.value.hint
