"""How long prompts and answers are."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Tokens of a prompt and of an answer, on average; no two together exceed `longest`.

    `spread` is the standard deviation over the average, of both (log-normal); 0 makes all alike.
    """

    prompt: int
    answer: int
    spread: float
    longest: int

    def draw(self, chance: random.Random) -> tuple[int, int]:
        """One prompt's and its answer's. What is too long is cut: the answer first, as a server's limit would."""
        prompt, answer = self._one(self.prompt, chance), self._one(self.answer, chance)
        prompt = min(prompt, self.longest - 1)
        return prompt, min(answer, self.longest - prompt)

    def _one(self, average: int, chance: random.Random) -> int:
        if not self.spread:
            return average
        variance = math.log1p(self.spread**2)
        return max(1, round(chance.lognormvariate(math.log(average) - variance / 2, math.sqrt(variance))))
