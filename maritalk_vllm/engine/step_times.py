"""The times of the engine's steps, and how long it may go without one before it counts as hung."""

import logging
from dataclasses import dataclass

MIN_SECONDS = 60.0
"""The least limit that is derived: a step may take long for a reason that is not measured, such as a busy disk."""

MAX_SECONDS = 300.0
"""The greatest limit that is derived, and the one that applies before anything is measured."""

MARGIN = 10
"""The limit as a multiple of the longest step: attention takes longer in a longer context."""

_LOGGED_CHANGE = 1.5
"""The factor by which the derived limit has to change to be logged again."""

_log = logging.getLogger("vllm.maritalk")  # vLLM configures only its own logger


@dataclass(slots=True)
class StepTimes:
    """Measured durations of an engine's steps. `max_batched_tokens`: the most tokens that a step computes."""

    max_batched_tokens: int = 1
    longest_seconds: float = 0.0
    most_prompt_tokens: int = 0
    """The most tokens of prompts that were computed for one step's outputs. Those in the prefix cache do not count."""
    _logged_seconds: float = MAX_SECONDS

    def add(self, seconds: float, prompt_tokens: int) -> None:
        """Add a step, with the computed tokens of the prompts that it completed."""
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.most_prompt_tokens = max(self.most_prompt_tokens, prompt_tokens)

    @property
    def limit_seconds(self) -> float:
        """Seconds without a step after which the engine counts as hung.

        A step with the longest prompts may not have been measured yet: its time is at most in proportion to the tokens
        of the largest that was.
        """
        if not self.most_prompt_tokens:
            return MAX_SECONDS
        unmeasured = max(1.0, self.max_batched_tokens / self.most_prompt_tokens)
        return min(max(MARGIN * self.longest_seconds * unmeasured, MIN_SECONDS), MAX_SECONDS)

    def log_limit(self) -> None:
        """Log the derived limit if it differs much from the one that was logged last."""
        limit, logged = self.limit_seconds, self._logged_seconds
        if max(limit, logged) >= _LOGGED_CHANGE * min(limit, logged):
            self._logged_seconds = limit
            _log.info(
                "The engine counts as hung after %.0f s without a step: its longest step took %.2f s. "
                "--engine-timeout sets another limit.",
                limit,
                self.longest_seconds,
            )
