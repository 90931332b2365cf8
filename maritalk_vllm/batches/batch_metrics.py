"""Prometheus metrics of batches, in the process that computes them."""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from ..engine.request_usage import UsageTotals
from .batch_records import UNFINISHED, Batch

_OUTCOMES = ("completed", "failed", "retried")

_MODE: Final = "livemax"
"""Of several API processes, one computes batches: its values are above the others', and are forgotten when it dies."""


class BatchMetrics:
    """Lines, tokens and states of batches. The request metrics do not count them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lines = Counter(
            "maritalk_batch_lines",
            "Lines of batches, by outcome and API key; retried ones are sent to the engine again.",
            ("outcome", "key"),
            registry=registry,
        )
        self._tokens = Counter(
            "maritalk_batch_tokens",
            "Tokens of prompts and of answers in batches, by API key.",
            ("kind", "key"),
            registry=registry,
        )
        gauge = partial(Gauge, registry=registry, multiprocess_mode=_MODE)
        self._batches = gauge("maritalk_batches", "Batches that are not over, by state.", ("status",))
        self.in_flight = gauge("maritalk_batch_lines_in_flight", "Lines in the engine.")
        self.window = gauge("maritalk_batch_window", "Lines that may be in the engine: 0 while batches pause.")
        self.waiting_keys = gauge(
            "maritalk_batch_keys_waiting",
            "API keys whose lines wait, since their batches have used up --batch-tokens-per-minute.",
        )
        self.disk_full = gauge("maritalk_batch_disk_full", "1 while batches pause because results cannot be written.")
        for status in UNFINISHED:
            self._batches.labels(status.value)

    def show(self, batches: list[Batch]) -> None:
        """Count the unfinished batches."""
        for status in UNFINISHED:
            self._batches.labels(status.value).set(sum(each.status is status for each in batches))

    def add_line(self, outcome: str, key_name: str) -> None:
        """Count one line. `outcome`: completed, failed or retried."""
        assert outcome in _OUTCOMES
        self._lines.labels(outcome, key_name).inc()

    def add_tokens(self, key_name: str, usage: UsageTotals) -> None:
        """Count the tokens of one line."""
        if usage.tokens:
            self._tokens.labels("prompt", key_name).inc(usage.prompt_tokens)
            self._tokens.labels("answer", key_name).inc(usage.completion_tokens)
