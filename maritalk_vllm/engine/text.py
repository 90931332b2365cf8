"""An answer's tokens as text, all at once where nobody waits for parts of it."""

from collections.abc import Sequence
from typing import Any

_TAIL = 8
"""Tokens of the prompt that an answer is read after: more than any character is spread over."""

_INCOMPLETE = "\ufffd"
"""What a decoder makes of a character whose rest is missing."""


class Decoder:
    """Reads an answer as vLLM's own detokeniser does, which reads it token by token while it is generated."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401
        """`tokenizer` is a fast one of transformers: its `backend_tokenizer` is what vLLM's detokeniser uses."""
        self._tokenizer = tokenizer.backend_tokenizer

    @classmethod
    def of(cls, tokenizer: Any) -> "Decoder | None":  # noqa: ANN401
        """None for a tokenizer that vLLM reads in another way."""
        return cls(tokenizer) if hasattr(tokenizer, "backend_tokenizer") else None

    def __call__(self, prompt: Sequence[int], answer: Sequence[int]) -> str:
        """The text of `answer`, which goes on where `prompt` ends: its first word's space is part of it."""
        tail = list(prompt[-_TAIL:])
        before = self._decode(tail).rstrip(_INCOMPLETE)
        # A character that the answer did not finish is left out.
        return self._decode([*tail, *answer])[len(before) :].rstrip(_INCOMPLETE)

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text
