"""One replica on the cards that the planner gives it, and what a step costs there."""

from dataclasses import dataclass

from ...errors import UsageError
from ...hardware.gpu_catalog import find_gpu
from ...models.memory_footprint import MemoryFootprint
from ...planning.memory_estimate import CPU_BATCH, BatchLimits, Parallelism, batch
from ...planning.plan import Plan
from ...planning.roofline import Efficiency, StepCost, roofline
from ...settings import Device
from .arrivals import Arrivals
from .replica_simulator import Replica
from .simulate import Run, simulate
from .token_lengths import Lengths
from .workload import Workload

UNMEASURED = StepCost(fixed=0.02, token=0.001, sequence=0.001, context=1e-6, request=0.005)
"""Where a fit to what was measured begins if no data sheet helps: a small model on a few cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaModel:
    """A replica: `cards` of them, the cost of a step, vLLM's limits; the KV cache and the context in tokens."""

    name: str
    cards: int
    cost: StepCost
    limits: BatchLimits
    cache_tokens: int
    longest: int

    @property
    def title(self) -> str:
        """For people: what one replica is on."""
        return f"{self.cards} x {self.name}"

    def lengths(self, workload: Workload) -> Lengths:
        """Of requests that this replica takes."""
        return Lengths(prompt=workload.prompt, answer=workload.answer, spread=workload.spread, longest=self.longest)

    def run(self, arrivals: Arrivals, until: float) -> Run:
        """What becomes of them here."""
        return simulate(arrivals, Replica(self.cost, self.limits, self.cache_tokens), until)


def of_plan(
    plan: Plan, footprint: MemoryFootprint | None, efficiency: Efficiency, context: int, *, measured: bool = False
) -> ReplicaModel:
    """The replica of a plan that has sizes, for requests that have some `context` tokens at their middle.

    Raises UsageError where no data sheet tells the speed, unless it is to be `measured`.
    """
    assert plan.kv_cache_tokens is not None and plan.max_model_len is not None
    tokens = plan.kv_cache_tokens // plan.data_parallel_size
    degrees = Parallelism(plan.tensor_parallel_size, plan.pipeline_parallel_size)
    if plan.device is Device.CPU:
        if not measured:
            raise UsageError(
                "No data sheet tells how fast a CPU is here.",
                "Measure the server with `maritalk-vllm bench --out FILE`, and give --measured FILE.",
            )
        name, cost = "CPU", UNMEASURED
        limits = BatchLimits(CPU_BATCH.tokens * plan.workers, CPU_BATCH.sequences * plan.workers)
    else:
        assert footprint is not None
        card = find_gpu(plan.gpus[0].name)
        name, limits = card.names[0], batch(plan.gpus[0])
        unknown = card.bandwidth is None and measured
        cost = UNMEASURED if unknown else roofline(footprint, degrees, card, efficiency, context)
    return ReplicaModel(
        name=name,
        cards=1 if plan.device is Device.CPU else degrees.gpu_count,
        cost=cost,
        limits=limits,
        cache_tokens=tokens,
        longest=plan.max_model_len,
    )
