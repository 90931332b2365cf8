"""All messages between the nodes of a group: for each direction, which may arrive.

A connection begins with a handshake: Challenge from the leader, Hello from the follower, Welcome or Refused from the
leader. A node of another version of this program must get as far as Refused, which tells its user that the versions
differ. Therefore Challenge, Hello and Refused are stable, as are the frames (messaging/direction.py): a field may be
added with a default, and unknown ones are ignored; none is removed, and none changes its type. Their tags are written
out, so that a class can be renamed. What follows Welcome is exchanged between nodes of the same version, and may change
with each.
"""

from typing import Annotated, Any, TypeAlias

import msgspec

from ..messaging.base_message import Message
from ..messaging.direction import Direction
from ..messaging.error_report import ErrorReport

HANDSHAKE_BYTES = 64 * 1024
"""Limit of a message before the other side is known to be a node: any host may connect."""

NODE_MESSAGE_BYTES = 16 << 20
"""Limit of a message between two nodes: vLLM's errors may be pages long."""

Nonce: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""A random number to be used once: 32 bytes in hexadecimal."""

Proof: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
"""A proof that the sender has the group's secret (handshake.py)."""


class Challenge(Message, frozen=True, tag="challenge", forbid_unknown_fields=False):
    """The leader's first message. Stable."""

    nonce: Nonce


class Hello(Message, frozen=True, kw_only=True, tag="hello", forbid_unknown_fields=False):
    """The follower's answer to the challenge. Stable.

    `terms` has the follower's values of `Compatibility`. In another version they may have other names and types, so any
    are accepted. `nonce` and `proof` are absent without a secret.
    """

    rank: Annotated[int, msgspec.Meta(gt=0)]
    terms: dict[str, Any] = msgspec.field(default_factory=dict)
    nonce: Nonce | None = None
    proof: Proof | None = None


class Refused(Message, frozen=True, tag="refused", forbid_unknown_fields=False):
    """The leader rejects the follower, and closes the connection. Stable."""

    error: ErrorReport


class Welcome(Message, frozen=True):
    """The follower belongs to the group. `proof` is the leader's, absent without a secret."""

    proof: Proof | None = None


HELLO: Direction[Hello] = Direction(Hello, "from a host to node 0", HANDSHAKE_BYTES)

Reception: TypeAlias = Challenge | Refused | Welcome
RECEPTION: Direction[Reception] = Direction(Reception, "from node 0 to a host", HANDSHAKE_BYTES)


# After Welcome.


class Heartbeat(Message, frozen=True):
    """The sender lives. Both sides send it."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values that the leader has decided for all nodes; None where each node keeps its own. Tokens."""

    max_model_len: Annotated[int, msgspec.Meta(gt=0)] | None = None


class Taken(Message, frozen=True):
    """Another node has this rank; the leader closes the connection. `by` is that node's address."""

    by: str


class Begin(Message, frozen=True):
    """An epoch starts: each node loads its part of the model."""

    agreement: Agreement


class End(Message, frozen=True):
    """The epoch ends, because of this error: each node stops its workers."""

    error: ErrorReport


FromLeader: TypeAlias = Taken | Begin | End
FROM_LEADER: Direction[FromLeader | Heartbeat] = Direction(
    FromLeader | Heartbeat, "from node 0 to another node", NODE_MESSAGE_BYTES
)


class Idle(Message, frozen=True):
    """The follower's workers have ended: the next epoch may start."""


class WorkersFailed(Message, frozen=True):
    """The follower's workers cannot continue, because of this error."""

    error: ErrorReport


FromFollower: TypeAlias = Idle | WorkersFailed
TO_LEADER: Direction[FromFollower | Heartbeat] = Direction(
    FromFollower | Heartbeat, "from another node to node 0", NODE_MESSAGE_BYTES
)
