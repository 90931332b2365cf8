"""The workload: number of users, request rate, token lengths, and the latency target."""

import math
import re
from dataclasses import dataclass

from ...errors import UsageError
from ...i18n.message import msg

THINK_SECONDS = 60.0
"""Default time between an answer and the same user's next request: an assumption."""

PEAK_SHARE = 0.12
"""Default share of the peak hour in a day's requests: an assumption. 0.042 would be an even day."""

_MIN_PEAK_SHARE = 1 / 24
_MAX_PEAK_SHARE = 0.5

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Lengths in tokens, times in seconds. All `users` are active in the peak hour.

    Each sends its next request `think` seconds after an answer or, if `hourly` is given, so many requests an hour as a
    Poisson process. `spread` is the standard deviation of prompt and answer lengths over their average.
    """

    users: int
    prompt: int
    answer: int
    latency_p95: float
    think: float = THINK_SECONDS
    hourly: float | None = None
    peak_share: float = PEAK_SHARE
    spread: float = 0.0

    def __post_init__(self) -> None:
        """Raises UsageError for a value out of range."""
        for name, value in (("users", self.users), ("prompt", self.prompt), ("output", self.answer)):
            if value < 1:
                raise UsageError(msg("--{option} is {number}.", option=name, number=value), "Give a number from 1 on.")
        if self.latency_p95 <= 0:
            raise UsageError("--latency-p95 is 0.", "Give a time that an answer may take, such as 10s or 800ms.")
        if self.think <= 0:
            raise UsageError("--think is 0.", "Give a time such as 60s; users who never think ask without end.")
        if self.hourly is not None and self.hourly <= 0:
            raise UsageError(
                msg("--requests-per-hour is {number}.", number=f"{self.hourly:g}"), "Give a number over 0."
            )
        if not _MIN_PEAK_SHARE < self.peak_share <= _MAX_PEAK_SHARE:
            raise UsageError(
                msg("--peak-share is {number}.", number=f"{self.peak_share:g}"),
                msg("Give a share over 0.042, which is an even day's, up to {number}.", number=_MAX_PEAK_SHARE),
            )
        if not 0 <= self.spread <= 2:
            raise UsageError(msg("--spread is {number}.", number=f"{self.spread:g}"), "Give a number from 0 to 2.")

    @property
    def longest_request(self) -> int:
        """Tokens of prompt and answer of a request that is three standard deviations longer than the average."""
        return math.ceil((self.prompt + self.answer) * (1 + 3 * self.spread))

    def check_context(self, max_model_len: int) -> None:
        """Raises UsageError if a request is longer than the model's context."""
        if self.prompt + self.answer > max_model_len:
            raise UsageError(
                msg(
                    "--prompt {prompt} and --output {answer} are {number3} tokens together, over the context of "
                    "{limit}.",
                    prompt=self.prompt,
                    answer=self.answer,
                    number3=self.prompt + self.answer,
                    limit=max_model_len,
                ),
                "Give shorter ones, or a longer --max-model-len if the model has it.",
            )


def seconds(option: str, text: str) -> float:
    """Parse a time such as `10s`, `800ms`, `2min` or `1h` into seconds. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            msg("{option} is {text!r}, which is no time.", option=option, text=text),
            "Write it as 10s, 800ms, 2min or 1h.",
        )
    return float(match[1]) * _SECONDS[match[2]]
