"""What became of one request, as its client saw it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """Times in seconds by the monotonic clock. `texts_at` is when each piece of a stream came.

    The three reported times are seconds by the server's own account, None where it gives none. `failure` is a
    sentence; then nothing else but the times counts.
    """

    began: float
    ended: float
    texts_at: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_time: float | None = None
    prompt_time: float | None = None
    generation_time: float | None = None
    failure: str = ""

    @property
    def seconds(self) -> float:
        """From the request to the last byte of its answer."""
        return self.ended - self.began

    @property
    def time_to_first_token(self) -> float | None:
        """None where the answer came whole."""
        return self.texts_at[0] - self.began if self.texts_at else None

    @property
    def inter_token_seconds(self) -> float | None:
        """The mean over what came after the first piece, which is counted as one token."""
        if len(self.texts_at) < 2 or self.completion_tokens < 2:
            return None
        return (self.texts_at[-1] - self.texts_at[0]) / (self.completion_tokens - 1)
