"""Token lengths of prompts and answers."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLengths:
    """Average tokens of a prompt and of an answer; the two of a request never exceed `max_model_len` together.

    `spread` is the standard deviation over the average of both (log-normal); 0 gives constant lengths.
    """

    prompt: int
    answer: int
    spread: float
    max_model_len: int

    def draw(self, rng: random.Random) -> tuple[int, int]:
        """Draw a prompt and an answer length. Too long ones are cut, the answer first, as a server's limit would."""
        prompt, answer = self._draw_length(self.prompt, rng), self._draw_length(self.answer, rng)
        prompt = min(prompt, self.max_model_len - 1)
        return prompt, min(answer, self.max_model_len - prompt)

    def _draw_length(self, average: int, rng: random.Random) -> int:
        if not self.spread:
            return average
        variance = math.log1p(self.spread**2)
        return max(1, round(rng.lognormvariate(math.log(average) - variance / 2, math.sqrt(variance))))
