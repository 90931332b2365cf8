"""Mutual authentication of the leader and a follower with the group's secret, which itself is never sent.

Each side sends the other a nonce, and receives an HMAC (RFC 2104) of both nonces, the sender's role and the follower's
rank. A proof that was intercepted on one connection is therefore not valid on another, nor in the other direction.
"""

import hmac
import secrets
from pathlib import Path

from ...errors import UsageError
from ...i18n.message import msg

LEADER, FOLLOWER = "head", "node"
"""Roles of the sender of a proof, as they enter the HMAC."""

_MIN_SECRET_BYTES = 16


def read_secret(file: Path) -> bytes:
    """Return the content of a file, without surrounding white space. Raises UsageError."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise UsageError(
            msg("The nodes' secret in {file} cannot be read: {reason}.", file=file, reason=error.strerror),
            "See --nodes-secret-file.",
        ) from error
    if len(secret) < _MIN_SECRET_BYTES:
        raise UsageError(
            msg(
                "The nodes' secret in {file} has {number} characters, and needs at least {least}.",
                file=file,
                number=len(secret),
                least=_MIN_SECRET_BYTES,
            ),
            "Make one with `openssl rand -hex 32`, the same for all nodes.",
        )
    return secret


def new_nonce() -> str:
    """Return a random number to be used once: 32 bytes in hexadecimal."""
    return secrets.token_hex(32)


def proof(secret: bytes, role: str, rank: int, leader_nonce: str, follower_nonce: str) -> str:
    """Return the proof, in hexadecimal, that `role` (LEADER or FOLLOWER) sends.

    `rank` is the follower's, whichever side sends it.
    """
    return hmac.new(secret, f"{role} {rank} {leader_nonce} {follower_nonce}".encode(), "sha256").hexdigest()


def is_proof(given: str | None, expected: str) -> bool:
    """Return whether the proof that a message contains, None if it contains none, is the expected one."""
    return given is not None and given.isascii() and hmac.compare_digest(given, expected)
