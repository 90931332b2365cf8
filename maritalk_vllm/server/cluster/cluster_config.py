"""Configuration of a group of nodes that serve one model."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Self

from ...errors import UsageError
from ...hardware.network import is_own
from ...i18n.message import msg
from ...settings import DistributedBackend, Settings
from .handshake import read_secret

DEFAULT_PORT = 29501
"""vLLM's default; tests/engine/test_contract.py compares the two."""

_MAX_PORT = 65534
_ADDRESS_PATTERNS = (
    re.compile(r"([^:\[\]\s]+)(?::(\d{1,5}))?"),
    re.compile(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?"),
    # An IPv6 address without brackets, and therefore without a port.
    re.compile(r"([0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*)()"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """The number of nodes and this node's rank; the leader is the node of rank 0.

    `head` is the address or name at which the followers reach the leader. vLLM uses `port`, and the supervisors
    `port + 1`.
    """

    nodes: int
    rank: int
    head: str
    port: int
    backend: DistributedBackend
    secret: bytes | None = field(default=None, repr=False)
    """The secret that all nodes share; None if any host that reaches the leader may join."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the configured group; None for a single node. Raises UsageError for inconsistent options."""
        nodes, rank = settings.nodes, settings.node_rank
        if rank >= nodes:
            raise UsageError(
                msg(
                    "--node-rank {rank} is out of range for --nodes {nodes}: ranks run from 0 to {number_last}.",
                    rank=rank,
                    nodes=nodes,
                    number_last=nodes - 1,
                ),
                "Give --nodes on every node, and --node-rank 0 on the one that answers.",
            )
        if nodes == 1:
            return None
        if settings.head is None:
            raise UsageError(
                msg("--nodes {number} needs --head.", number=nodes),
                "Give the address at which the other nodes reach node 0, on all.",
            )
        if settings.replicas != "1":
            raise UsageError(
                msg(
                    "--replicas {replicas} is for one node, and there are {number}.",
                    replicas=settings.replicas,
                    number=nodes,
                ),
                "To serve several replicas, start several groups behind a router: see docs/nodes.md.",
            )
        if rank and settings.interactive:
            raise UsageError("--interactive is for node 0: no other node answers.", "Leave it out here.")
        head, port = _parse_address(settings.head)
        secret = read_secret(settings.nodes_secret_file) if settings.nodes_secret_file else None
        return cls(nodes=nodes, rank=rank, head=head, port=port, backend=settings.distributed_backend, secret=secret)

    @property
    def is_leader(self) -> bool:
        """Whether this node answers the requests of the group."""
        return self.rank == 0

    @property
    def control_port(self) -> int:
        """The port on which the leader listens for control connections of the followers."""
        return self.port + 1


def check_head_is_local(group: ClusterConfig) -> bool:
    """Check on the leader that `head` is an address of this machine; return False if its name does not resolve.

    Raises UsageError if `head` is an address of another machine.
    """
    try:
        is_local = is_own(group.head)
    except OSError:
        return False
    if not is_local:
        raise UsageError(
            msg("--head {head} is not an address of this machine, which is node 0.", head=group.head),
            "Give all nodes the address by which the others reach node 0, or this machine another --node-rank.",
        )
    return True


def check_head_address(group: ClusterConfig) -> None:
    """Call `check_head_is_local` if `head` is an IP address. A name is resolved later, since DNS may be slow."""
    try:
        ipaddress.ip_address(group.head.partition("%")[0])
    except ValueError:
        return
    if group.is_leader:
        check_head_is_local(group)


def _parse_address(text: str) -> tuple[str, int]:
    for pattern in _ADDRESS_PATTERNS:
        if match := pattern.fullmatch(text):
            host, port = match[1], int(match[2] or DEFAULT_PORT)
            if 0 < port <= _MAX_PORT:
                return host, port
    raise UsageError(
        msg("--head {text!r} cannot be read.", text=text),
        "Write it as 10.0.0.1, 10.0.0.1:29501, [fd00::1]:29501 or a name.",
    )
