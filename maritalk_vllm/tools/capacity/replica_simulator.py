"""One replica under vLLM's scheduling rules: continuous batching, chunked prefill, first come first served.

In each step every decoding request gets one token; the rest of the step's token budget goes to prefills, in order of
arrival. Where nothing changes from step to step, many steps are simulated as one.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from ...planning.batch_limits import BatchLimits
from ...planning.roofline import StepCost
from .simulated_request import SimulatedRequest


@dataclass(slots=True)
class ReplicaStats:
    """Totals over the steps: busy seconds, and running requests times seconds; peak of the KV cache in tokens."""

    steps: int = 0
    seconds: float = 0.0
    running_seconds: float = 0.0
    most_cached: int = 0
    preemptions: int = 0


@dataclass(slots=True)
class ReplicaSimulator:
    """State of one replica, given the step cost, vLLM's limits per step, and the KV cache size in tokens."""

    cost: StepCost
    limits: BatchLimits
    cache_tokens: int
    stats: ReplicaStats = field(default_factory=ReplicaStats)
    waiting: deque[SimulatedRequest] = field(default_factory=deque)
    _prefilling: list[SimulatedRequest] = field(default_factory=list)
    _decoding: list[tuple[int, int, SimulatedRequest]] = field(default_factory=list)
    """A heap of (step after which the request finishes, order of admission, request)."""
    _step: int = 0
    _admitted: int = 0
    _cached: int = 0

    @property
    def idle(self) -> bool:
        """Whether there are no requests."""
        return not (self.waiting or self._prefilling or self._decoding)

    @property
    def running(self) -> int:
        """Number of requests in the batch."""
        return len(self._prefilling) + len(self._decoding)

    def advance(self, now: float, until: float) -> tuple[float, list[SimulatedRequest]]:
        """Simulate steps from `now` on, at least one; none starts at or after `until`, the next arrival.

        Returns the end of the last step, and the requests that it finished.
        """
        self._preempt()
        chunks = self._chunks()
        for request, _ in chunks:
            if request.started is None:
                request.started = now
        return self._prefill_step(now, chunks) if chunks else self._decode_steps(now, until)

    def _chunks(self) -> list[tuple[SimulatedRequest, int]]:
        """Prompt chunks that this step computes beside one token for each decoding request."""
        budget = self.limits.tokens - len(self._decoding)
        free_tokens = self.cache_tokens - self._cached - len(self._decoding)
        chunks = []
        for request in self._prefilling:
            if size := min(request.uncomputed, budget, free_tokens):
                chunks.append((request, size))
                budget, free_tokens = budget - size, free_tokens - size
        while (
            self.waiting
            and budget > 0
            and self.running < self.limits.sequences
            and self.waiting[0].uncomputed <= free_tokens
        ):
            request = self.waiting.popleft()
            self._prefilling.append(request)
            size = min(request.uncomputed, budget)
            chunks.append((request, size))
            budget, free_tokens = budget - size, free_tokens - size
        return chunks

    def _prefill_step(
        self, now: float, chunks: list[tuple[SimulatedRequest, int]]
    ) -> tuple[float, list[SimulatedRequest]]:
        """One step that includes prefill."""
        decoding = len(self._decoding)
        for request, size in chunks:
            request.uncomputed -= size
            request.cached += size
        tokens = decoding + sum(size for _, size in chunks)
        self._cached += tokens
        prefilled = [request for request, _ in chunks if not request.uncomputed]
        now += self._account(
            1, self.cost.seconds(tokens, decoding + len(prefilled), self._cached), decoding + len(chunks)
        )
        finished = self._pop_finished(now)
        for request in prefilled:
            self._prefilling.remove(request)
            request.first_token_at = now if request.first_token_at is None else request.first_token_at
            request.remaining -= 1
            if request.remaining:
                self._admitted += 1
                heapq.heappush(self._decoding, (self._step + request.remaining, self._admitted, request))
            else:
                self._finish(request, request.cached, now)
                finished.append(request)
        return now, finished

    def _decode_steps(self, now: float, until: float) -> tuple[float, list[SimulatedRequest]]:
        """Decode-only steps, up to the first finished request, `until`, or a full KV cache."""
        decoding = len(self._decoding)
        most = min(self._decoding[0][0] - self._step, (self.cache_tokens - self._cached) // decoding)
        first = self.cost.seconds(decoding, decoding, self._cached + decoding)
        increment = self.cost.context * decoding  # each step attends to that many more tokens than the one before
        steps = most if self.waiting else min(most, _steps(until - now, first, increment))
        now += self._account(steps, steps * first + increment * steps * (steps - 1) / 2, decoding)
        self._cached += steps * decoding
        return now, self._pop_finished(now)

    def _account(self, steps: int, seconds: float, running: int) -> float:
        self._step += steps
        self.stats.steps += steps
        self.stats.seconds += seconds
        self.stats.running_seconds += seconds * running
        return seconds

    def _pop_finished(self, now: float) -> list[SimulatedRequest]:
        """Remove and return the requests that got their last token in the last step."""
        self.stats.most_cached = max(self.stats.most_cached, self._cached)
        finished = []
        while self._decoding and self._decoding[0][0] <= self._step:
            _, _, request = heapq.heappop(self._decoding)
            # The last token has no KV cache entry: no later token attends to it.
            self._finish(request, request.cached + request.remaining, now)
            finished.append(request)
        return finished

    def _finish(self, request: SimulatedRequest, cached: int, now: float) -> None:
        self._cached -= cached
        request.remaining, request.finished = 0, now

    def _preempt(self) -> None:
        """While the KV cache cannot take one token per decoding request, preempt the newest one, to be recomputed."""
        while self._decoding and self._cached + len(self._decoding) > self.cache_tokens:
            last = max(self._decoding, key=lambda entry: entry[1])
            self._decoding.remove(last)
            heapq.heapify(self._decoding)
            end_step, _, request = last
            remaining = end_step - self._step
            cached = request.cached + request.remaining - remaining
            self._cached -= cached
            request.uncomputed, request.cached, request.remaining = cached + 1, 0, remaining
            self.stats.preemptions += 1
            self.waiting.appendleft(request)


def _steps(seconds: float, first: float, increment: float) -> int:
    """The fewest steps that take at least `seconds`: the first takes `first`, each later one `increment` longer."""
    if math.isinf(seconds):
        return 1 << 60
    if increment <= 0:
        return max(1, math.ceil(seconds / first))
    half = first - increment / 2
    return max(1, math.ceil((math.sqrt(half * half + 2 * increment * max(0.0, seconds)) - half) / increment))
