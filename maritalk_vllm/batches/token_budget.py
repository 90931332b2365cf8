"""What batches know of `--batch-tokens-per-minute`, which the server counts beside its other limits of a key."""

from typing import Protocol


class LineReservation(Protocol):
    """Tokens that one line has reserved. `used`: those that it has used so far."""

    used: int

    def settle(self) -> None:
        """Release the reservation, and charge the key with what the line used."""


class TokenBudget(Protocol):
    """The tokens that the lines of each key may have in a minute. Lines wait for them: none is rejected."""

    def has_tokens(self, key: str) -> bool:
        """Whether another line of a key may begin: some of its tokens are neither used nor reserved."""

    def reserve(self, key: str, tokens: int | None) -> LineReservation:
        """Reserve `tokens` for a line, or, with None, all that are left."""
