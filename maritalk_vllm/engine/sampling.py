"""What the engine is asked for."""

from dataclasses import dataclass

DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.95
"""What every MariTalk client sends, and Maritaca's API takes, where nothing else was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens.

    Temperature 0 is greedy, and then `top_p`, `top_k` and `seed` have no part in it. `max_tokens` None goes on to the
    end of the model's context. `n` answers are made of one prompt. `top_k` 0 considers every token.
    """

    temperature: float
    top_p: float
    max_tokens: int | None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int = 1
    top_k: int = 0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str
