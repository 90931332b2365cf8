"""Fit of the step cost to measured loads, by coordinate descent."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...planning.roofline import StepCost
from .benchmark_data import BenchmarkLoad, Measurement, predict
from .replica_model import ReplicaModel

TERMS = (("fixed",), ("weights", "context"), ("compute",), ("token",), ("sequence",), ("context",), ("request",))
"""Cost terms that are scaled together. A term that is 0 stays 0."""

_FIRST_STEP, _LAST_STEP = 0.5, 0.005
"""Relative change of a term in the first and the last iterations."""


def calibrate(replica: ReplicaModel, loads: Sequence[BenchmarkLoad]) -> StepCost:
    """The replica's step cost, each term scaled up or down while the predictions improve. Deterministic."""
    best, step = replica.cost, _FIRST_STEP
    lowest = _error(replica, best, loads)
    while step > _LAST_STEP:
        improved = False
        for names in TERMS:
            for factor in (1 + step, 1 / (1 + step)):
                changed = _scaled(best, names, factor)
                error = _error(replica, changed, loads) if changed != best else lowest
                if error < lowest:
                    best, lowest, improved = changed, error, True
                    break
        if not improved:
            step /= 2
    return best


def _scaled(cost: StepCost, names: Sequence[str], factor: float) -> StepCost:
    return replace(cost, **{name: getattr(cost, name) * factor for name in names})


def _error(replica: ReplicaModel, cost: StepCost, loads: Sequence[BenchmarkLoad]) -> float:
    candidate = replace(replica, cost=cost)
    return sum(ratio**2 for load in loads for ratio in _ratios(predict(load, candidate), load.outcome))


def _ratios(predicted: Measurement, measured: Measurement) -> Iterator[float]:
    """Logarithms of predicted over measured: twice as much is as wrong as half."""
    for name in ("requests_per_second", "latency_p50", "prompt", "generation"):
        expected, actual = getattr(predicted, name), getattr(measured, name)
        if expected and actual:
            yield math.log(expected / actual)
