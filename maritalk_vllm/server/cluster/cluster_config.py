"""The machines that serve one model together."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Self

from ...errors import UsageError
from ...hardware.network import is_own
from ...settings import DistributedBackend, Settings
from .handshake import read_secret

DEFAULT_PORT = 29501
"""vLLM's own default; tests/engine/test_contract.py compares the two."""

_LAST_PORT = 65534
_FORMS = (
    re.compile(r"([^:\[\]\s]+)(?::(\d{1,5}))?"),
    re.compile(r"\[([0-9a-fA-F:.]+)\](?::(\d{1,5}))?"),
    # An IPv6 address alone, whose colons belong to no port.
    re.compile(r"([0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*)()"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """How many nodes there are and which of them this is.

    `head` is the address or name by which the others reach node 0. Its `port` is vLLM's, and the next is ours.
    """

    nodes: int
    rank: int
    head: str
    port: int
    backend: DistributedBackend
    secret: bytes | None = field(default=None, repr=False)
    """The secret that all nodes share; None where any host that reaches node 0 can join."""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the user set it; None for a machine alone. Raises UsageError for what does not go together."""
        nodes, rank = settings.nodes, settings.node_rank
        if rank >= nodes:
            raise UsageError(
                f"--node-rank {rank} is none of --nodes {nodes}: they are counted from 0 to {nodes - 1}.",
                "Give --nodes on every node, and --node-rank 0 on the one that answers.",
            )
        if nodes == 1:
            return None
        if settings.head is None:
            raise UsageError(
                f"--nodes {nodes} needs --head.", "Give the address at which the other nodes reach node 0, on all."
            )
        if settings.replicas != "1":
            raise UsageError(
                f"--replicas {settings.replicas} is for one node, and there are {nodes}.",
                "More copies than one are groups of their own behind a router: see docs/nodes.md.",
            )
        if rank and settings.interactive:
            raise UsageError("--interactive is for node 0: no other node answers.", "Leave it out here.")
        head, port = _address(settings.head)
        secret = read_secret(settings.nodes_secret_file) if settings.nodes_secret_file else None
        return cls(nodes=nodes, rank=rank, head=head, port=port, backend=settings.distributed_backend, secret=secret)

    @property
    def leads(self) -> bool:
        """Whether this is the node that answers for all."""
        return self.rank == 0

    @property
    def line_port(self) -> int:
        """Where node 0 listens for the others."""
        return self.port + 1


def check_own(group: ClusterConfig) -> bool:
    """Whether the head's name is known here, on node 0. Raises UsageError where it is another machine's."""
    try:
        own = is_own(group.head)
    except OSError:
        return False
    if not own:
        raise UsageError(
            f"--head {group.head} is no address of this machine, which is node 0.",
            "Give all nodes the address by which the others reach node 0, or this machine another --node-rank.",
        )
    return True


def check_address(group: ClusterConfig) -> None:
    """As `check_own`, where `head` is an address. A name is looked up later: that may take longer than a start may."""
    try:
        ipaddress.ip_address(group.head.partition("%")[0])
    except ValueError:
        return
    if group.leads:
        check_own(group)


def _address(text: str) -> tuple[str, int]:
    for form in _FORMS:
        if found := form.fullmatch(text):
            host, port = found[1], int(found[2] or DEFAULT_PORT)
            if 0 < port <= _LAST_PORT:
                return host, port
    raise UsageError(
        f"--head {text!r} cannot be read.", "Write it as 10.0.0.1, 10.0.0.1:29501, [fd00::1]:29501 or a name."
    )
