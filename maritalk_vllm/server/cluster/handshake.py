"""How node 0 and another node prove to each other that they have the group's secret, which itself is never sent.

Each gives the other a number that is used once, and gets back an HMAC (RFC 2104) of both numbers, of who proves and of
the node's rank: nothing that was heard on a line serves on another, nor in the other direction.
"""

import hmac
import re
import secrets
from pathlib import Path
from typing import Any

from ...errors import UsageError

HEAD, NODE = "head", "node"
"""Who proves."""

_SHORTEST = 16
_NONCE = re.compile(r"[0-9a-f]{64}")


def read_secret(file: Path) -> bytes:
    """The content of a file, without white space around it. Raises UsageError."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            f"The nodes' secret in {file} cannot be read: {error.strerror}.", "See --nodes-secret-file."
        ) from error
    if len(secret) < _SHORTEST:
        raise UsageError(
            f"The nodes' secret in {file} has {len(secret)} characters, and needs at least {_SHORTEST}.",
            "Make one with `openssl rand -hex 32`, the same for all nodes.",
        )
    return secret


def new_nonce() -> str:
    """A number that is used once, in hexadecimal."""
    return secrets.token_hex(32)


def nonce_of(message: dict[str, Any]) -> str | None:
    """The number in a message; None if there is none, or something else in its place."""
    nonce = message.get("nonce")
    return nonce if isinstance(nonce, str) and _NONCE.fullmatch(nonce) else None


def proof(secret: bytes, by: str, rank: int, head_nonce: str, node_nonce: str) -> str:
    """What HEAD or NODE sends of a secret, on the line between node 0 and the node of this rank; in hexadecimal."""
    return hmac.new(secret, f"{by} {rank} {head_nonce} {node_nonce}".encode(), "sha256").hexdigest()


def proves(message: dict[str, Any], expected: str) -> bool:
    """Whether a message has this proof."""
    given = message.get("proof")
    return isinstance(given, str) and given.isascii() and hmac.compare_digest(given, expected)
