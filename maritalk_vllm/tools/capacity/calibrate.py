"""What a step costs, by what was measured: the cost with which the simulator says what came of the loads."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...planning.roofline import StepCost
from .benchmark_data import BenchmarkLoad, Measurement, predict
from .replica_model import ReplicaModel

KNOBS = (("fixed",), ("weights", "context"), ("compute",), ("token",), ("sequence",), ("context",), ("request",))
"""What is turned together. A part that is 0 stays so."""

_FIRST, _LAST = 0.5, 0.005
"""By how much of itself a part is changed at first, and at last."""


def calibrate(site: ReplicaModel, loads: Sequence[BenchmarkLoad]) -> StepCost:
    """The site's cost, each part turned up and down for as long as the loads come out better. The same every time."""
    best, step = site.cost, _FIRST
    least = _error(site, best, loads)
    while step > _LAST:
        improved = False
        for names in KNOBS:
            for factor in (1 + step, 1 / (1 + step)):
                changed = _turned(best, names, factor)
                error = _error(site, changed, loads) if changed != best else least
                if error < least:
                    best, least, improved = changed, error, True
                    break
        if not improved:
            step /= 2
    return best


def _turned(cost: StepCost, names: Sequence[str], factor: float) -> StepCost:
    return replace(cost, **{name: getattr(cost, name) * factor for name in names})


def _error(site: ReplicaModel, cost: StepCost, loads: Sequence[BenchmarkLoad]) -> float:
    at = replace(site, cost=cost)
    return sum(ratio**2 for load in loads for ratio in _ratios(predict(load, at), load.outcome))


def _ratios(predicted: Measurement, measured: Measurement) -> Iterator[float]:
    """Logarithms: twice as much is as wrong as half."""
    for name in ("requests_per_second", "latency_p50", "prompt", "generation"):
        one, other = getattr(predicted, name), getattr(measured, name)
        if one and other:
            yield math.log(one / other)
