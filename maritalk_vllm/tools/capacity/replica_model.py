"""One replica on the GPUs of its plan, and its step cost."""

from dataclasses import dataclass

from ...errors import UsageError
from ...hardware.gpu_catalog import find_gpu
from ...models.memory_footprint import MemoryFootprint
from ...planning.batch_limits import CPU_BATCH, BatchLimits, default_batch_limits
from ...planning.plan import Plan
from ...planning.roofline import Efficiency, StepCost, roofline
from ...settings import Device
from .arrivals import Arrivals
from .replica_simulator import ReplicaSimulator
from .simulate import SimulationRun, simulate
from .token_lengths import TokenLengths
from .workload import Workload

UNMEASURED = StepCost(fixed=0.02, token=0.001, sequence=0.001, context=1e-6, request=0.005)
"""Start of a calibration without a data sheet: a small model on a few cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaModel:
    """A replica on `cards` GPUs: step cost, vLLM's batch limits, KV cache and maximum context (`longest`) in tokens."""

    name: str
    cards: int
    cost: StepCost
    limits: BatchLimits
    cache_tokens: int
    longest: int

    @property
    def title(self) -> str:
        """The GPUs of one replica, for messages."""
        return f"{self.cards} x {self.name}"

    def lengths(self, workload: Workload) -> TokenLengths:
        """Token lengths of the workload's requests, within this replica's context."""
        return TokenLengths(
            prompt=workload.prompt, answer=workload.answer, spread=workload.spread, max_model_len=self.longest
        )

    def run(self, arrivals: Arrivals, until: float) -> SimulationRun:
        """Simulate these arrivals on this replica."""
        return simulate(arrivals, ReplicaSimulator(self.cost, self.limits, self.cache_tokens), until)


def of_plan(
    plan: Plan, footprint: MemoryFootprint | None, efficiency: Efficiency, context: int, *, measured: bool = False
) -> ReplicaModel:
    """The replica of a plan with known sizes, for requests with `context` tokens halfway through generation.

    Raises UsageError where no data sheet gives the speed, unless it will be calibrated with `measured` loads.
    """
    assert plan.kv_cache_tokens is not None and plan.max_model_len is not None
    tokens = plan.kv_cache_tokens // plan.data_parallel_size
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
        gpu = find_gpu(plan.gpus[0].name)
        name, limits = gpu.names[0], default_batch_limits(plan.gpus[0])
        unknown = gpu.bandwidth is None and measured
        cost = UNMEASURED if unknown else roofline(footprint, plan.parallelism, gpu, efficiency, context)
    return ReplicaModel(
        name=name,
        cards=1 if plan.device is Device.CPU else plan.parallelism.gpu_count,
        cost=cost,
        limits=limits,
        cache_tokens=tokens,
        longest=plan.max_model_len,
    )
