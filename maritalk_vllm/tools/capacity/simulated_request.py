"""State of one request in the simulation."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class SimulatedRequest:
    """Lengths in tokens, times in seconds since the start of the simulation. `user` is the number of its user.

    `cached` tokens are in the KV cache. `uncomputed` tokens have to be computed before the next token: at first the
    prompt, after a preemption also the answer so far. `remaining` tokens of the answer are still to be generated.
    """

    user: int
    arrived: float
    prompt: int
    answer: int
    uncomputed: int = 0
    remaining: int = 0
    cached: int = 0
    started: float | None = None
    first_token_at: float | None = None
    finished: float | None = None

    def __post_init__(self) -> None:
        self.uncomputed, self.remaining = self.prompt, self.answer

    @property
    def latency(self) -> float:
        """Seconds from arrival to the whole answer, once the request is finished."""
        assert self.finished is not None
        return self.finished - self.arrived

    @property
    def time_to_first_token(self) -> float:
        """Seconds from arrival to the first token, once it is generated."""
        assert self.first_token_at is not None
        return self.first_token_at - self.arrived
