"""Sampling options and chat messages, as the engine receives them."""

from dataclasses import dataclass

DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.95
"""Default of every MariTalk client and of Maritaca's API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling options.

    Temperature 0 is greedy: `top_p`, `top_k` and `seed` are ignored. `max_tokens` None allows the rest of the model's
    context. `n` is the number of answers to the prompt. `top_k` 0 considers every token.
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
    """One message of a chat."""

    role: str
    content: str
