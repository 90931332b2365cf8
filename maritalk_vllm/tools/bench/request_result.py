"""The result of one request, as the client saw it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResult:
    """Times in seconds of the monotonic clock. `texts_at` holds the arrival time of each piece of a stream.

    `queue_time`, `prompt_time` and `generation_time` are the server's, in seconds, None where it reports none.
    `failure` is a sentence; if it is set, only the times are valid.
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
        """Seconds from sending the request to the last byte of the response."""
        return self.ended - self.began

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds to the first piece of a stream; None for a response that was not streamed."""
        return self.texts_at[0] - self.began if self.texts_at else None

    @property
    def inter_token_seconds(self) -> float | None:
        """Mean seconds per token after the first piece, which counts as one token."""
        if len(self.texts_at) < 2 or self.completion_tokens < 2:
            return None
        return (self.texts_at[-1] - self.texts_at[0]) / (self.completion_tokens - 1)
