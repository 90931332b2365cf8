"""The tokens a minute that each API key has for its batches, apart from those of its other requests."""

from ...errors import TooManyRequests
from .rate_limit import Usage
from .usage_window import UsageWindow


class BatchBudget:
    """The TokenBudget of the batches, counted over all API processes: another one may go on with a batch."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def has_tokens(self, key: str) -> bool:
        """Whether another line of a key may begin: some of its tokens are neither used nor reserved."""
        if not key or self._usage.batch_tokens is None:
            return True
        try:
            with self._usage.exclusive():
                return self._usage.batch_tokens.remaining(key) > 0
        except TooManyRequests:  # there are too many keys
            return False

    def reserve(self, key: str, tokens: int | None) -> "BatchReservation":
        """Reserve `tokens` for a line, or, with None, all that are left."""
        window = self._usage.batch_tokens if key else None
        if window is None:
            return BatchReservation(self._usage, None, key, 0)
        with self._usage.exclusive():
            amount = max(0, window.remaining(key)) if tokens is None else tokens
            window.reserve(key, amount)
        return BatchReservation(self._usage, window, key, amount)


class BatchReservation:
    """Tokens that one line has reserved for its key, in the window of that time: the limit may change."""

    def __init__(self, usage: Usage, window: UsageWindow | None, key: str, amount: int) -> None:
        self._usage = usage
        self._window = window
        self._key = key
        self._amount = amount
        self.used = 0

    def settle(self) -> None:
        """Release the reservation, and charge the key with what the line used."""
        if self._window is not None:
            with self._usage.exclusive():
                self._window.reserve(self._key, -self._amount)
                self._window.charge(self._key, self.used)
