"""One request on its way through a replica."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class SimulatedRequest:
    """Lengths in tokens, times in seconds since the simulation began. `user` is whose it is, by number.

    `cached` tokens are in the KV cache; `due` are still to be computed before the next token comes: the prompt at
    first, and after a preemption the answer so far as well. `left` tokens of the answer are to come.
    """

    user: int
    asked: float
    prompt: int
    answer: int
    due: int = 0
    left: int = 0
    cached: int = 0
    began: float | None = None
    first: float | None = None
    ended: float | None = None

    def __post_init__(self) -> None:
        self.due, self.left = self.prompt, self.answer

    @property
    def latency(self) -> float:
        """Seconds from the question to the whole answer, which has come."""
        assert self.ended is not None
        return self.ended - self.asked

    @property
    def first_token(self) -> float:
        """Seconds from the question to the first token, which has come."""
        assert self.first is not None
        return self.first - self.asked
