"""One copy of a model under vLLM's rules: continuous batching, prompts in chunks, first come first served.

In each step whoever has their prompt behind them gets one token; what is left of the step's tokens goes to prompts, in
the order in which they came. Where nothing changes from step to step, many are taken as one.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from ...planning.memory_estimate import BatchLimits
from ...planning.roofline import StepCost
from .simulated_request import SimulatedRequest


@dataclass(slots=True)
class Used:
    """Sums over the steps: seconds at work, and requests that ran, weighted by these seconds. The most KV cache."""

    steps: int = 0
    seconds: float = 0.0
    running_seconds: float = 0.0
    most_cached: int = 0
    preemptions: int = 0


@dataclass(slots=True)
class Replica:
    """What a step costs, vLLM's limits of one, and the tokens that the KV cache holds."""

    cost: StepCost
    limits: BatchLimits
    cache_tokens: int
    used: Used = field(default_factory=Used)
    waiting: deque[SimulatedRequest] = field(default_factory=deque)
    _prompts: list[SimulatedRequest] = field(default_factory=list)
    _answers: list[tuple[int, int, SimulatedRequest]] = field(default_factory=list)
    """A heap: the step after which each ends, the number by which it came, itself."""
    _step: int = 0
    _came: int = 0
    _cached: int = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.waiting or self._prompts or self._answers)

    @property
    def running(self) -> int:
        """Requests that have a place in the batch."""
        return len(self._prompts) + len(self._answers)

    def advance(self, now: float, until: float) -> tuple[float, list[SimulatedRequest]]:
        """Steps from `now` on, at least one; none begins at or after `until`, when somebody comes.

        Returns when the last of them ended, and the requests whose answers it completed.
        """
        self._make_room()
        chunks = self._chunks()
        for request, _ in chunks:
            if request.began is None:
                request.began = now
        return self._mixed(now, chunks) if chunks else self._answering(now, until)

    def _chunks(self) -> list[tuple[SimulatedRequest, int]]:
        """Prompts, or parts of them, that this step computes beside a token for each answer."""
        budget = self.limits.tokens - len(self._answers)
        room = self.cache_tokens - self._cached - len(self._answers)
        chunks = []
        for request in self._prompts:
            if size := min(request.due, budget, room):
                chunks.append((request, size))
                budget, room = budget - size, room - size
        while self.waiting and budget > 0 and self.running < self.limits.sequences and self.waiting[0].due <= room:
            request = self.waiting.popleft()
            self._prompts.append(request)
            size = min(request.due, budget)
            chunks.append((request, size))
            budget, room = budget - size, room - size
        return chunks

    def _mixed(self, now: float, chunks: list[tuple[SimulatedRequest, int]]) -> tuple[float, list[SimulatedRequest]]:
        """One step with prompts in it."""
        answers = len(self._answers)
        for request, size in chunks:
            request.due -= size
            request.cached += size
        tokens = answers + sum(size for _, size in chunks)
        self._cached += tokens
        complete = [request for request, _ in chunks if not request.due]
        now += self._take(1, self.cost.seconds(tokens, answers + len(complete), self._cached), answers + len(chunks))
        ended = self._ended(now)
        for request in complete:
            self._prompts.remove(request)
            request.first = now if request.first is None else request.first
            request.left -= 1
            if request.left:
                self._came += 1
                heapq.heappush(self._answers, (self._step + request.left, self._came, request))
            else:
                self._leave(request, request.cached, now)
                ended.append(request)
        return now, ended

    def _answering(self, now: float, until: float) -> tuple[float, list[SimulatedRequest]]:
        """Steps that give a token to each, up to the first end of an answer, or `until`, or where the cache is full."""
        answers = len(self._answers)
        most = min(self._answers[0][0] - self._step, (self.cache_tokens - self._cached) // answers)
        first = self.cost.seconds(answers, answers, self._cached + answers)
        more = self.cost.context * answers  # each step looks at so much more than the one before
        steps = most if self.waiting else min(most, _steps(until - now, first, more))
        now += self._take(steps, steps * first + more * steps * (steps - 1) / 2, answers)
        self._cached += steps * answers
        return now, self._ended(now)

    def _take(self, steps: int, seconds: float, running: int) -> float:
        self._step += steps
        used = self.used
        used.steps += steps
        used.seconds += seconds
        used.running_seconds += seconds * running
        return seconds

    def _ended(self, now: float) -> list[SimulatedRequest]:
        """Those whose last token came with the last step."""
        self.used.most_cached = max(self.used.most_cached, self._cached)
        ended = []
        while self._answers and self._answers[0][0] <= self._step:
            _, _, request = heapq.heappop(self._answers)
            # Its last token is not kept: nobody looks at it.
            self._leave(request, request.cached + request.left, now)
            ended.append(request)
        return ended

    def _leave(self, request: SimulatedRequest, cached: int, now: float) -> None:
        self._cached -= cached
        request.left, request.ended = 0, now

    def _make_room(self) -> None:
        """While there is no room for a token of each, who came last gives up theirs, to be computed again."""
        while self._answers and self._cached + len(self._answers) > self.cache_tokens:
            last = max(self._answers, key=lambda entry: entry[1])
            self._answers.remove(last)
            heapq.heapify(self._answers)
            ends, _, request = last
            left = ends - self._step
            self._cached -= request.cached + request.left - left
            request.due, request.cached, request.left = request.cached + request.left - left + 1, 0, left
            self.used.preemptions += 1
            self.waiting.appendleft(request)


def _steps(seconds: float, first: float, more: float) -> int:
    """The fewest steps that take at least `seconds`: the first takes `first`, and each one `more` than the last."""
    if math.isinf(seconds):
        return 1 << 60
    if more <= 0:
        return max(1, math.ceil(seconds / first))
    half = first - more / 2
    return max(1, math.ceil((math.sqrt(half * half + 2 * more * max(0.0, seconds)) - half) / more))
