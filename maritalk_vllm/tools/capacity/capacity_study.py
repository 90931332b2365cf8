"""The capacity study: how many replicas a workload needs for each parallelism, or why no number is enough."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...errors import DoesNotFit, MariTalkError, NotChecked, UsageError
from ...hardware.gpu_catalog import GpuModel, find_gpu, gpu_models, idle_machine
from ...i18n.message import Number, msg, pluralized
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...planning.planner import make_plan
from ...planning.roofline import Efficiency
from ...settings import Device
from .benchmark_data import BenchmarkLoad
from .calibrate import calibrate
from .day_profile import Day, simulate_day
from .replica_model import ReplicaModel, of_plan
from .sizing import SizingResult, most_users, single_user, size
from .workload import Workload

MAX_GPUS = 8
"""GPUs of one machine that a replica may use."""

_MAX_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInputs:
    """The model, the workload, and the speed: data-sheet efficiency, or measured `loads` instead.

    `limit` is the number of available GPUs, None for no limit.
    """

    requirements: ModelRequirements
    workload: Workload
    efficiency: Efficiency
    loads: Sequence[BenchmarkLoad] = ()
    limit: int | None = None

    def replica(self, plan: Plan) -> ReplicaModel:
        """One replica of this plan.

        Raises NotChecked if the model's size is unknown, UsageError if its speed is unknown or requests are too long.
        """
        if self.requirements.footprint is None or plan.max_model_len is None or plan.kv_cache_tokens is None:
            raise NotChecked(
                self.requirements.doubt or msg("The size of {title} is unknown.", title=self.requirements.title),
                "Download it first.",
            )
        self.workload.check_context(plan.max_model_len)
        # On average over its generation, a request's context is its prompt and half of its answer.
        middle = self.workload.prompt + self.workload.answer // 2
        replica = of_plan(plan, self.requirements.footprint, self.efficiency, middle, measured=bool(self.loads))
        return replace(replica, cost=calibrate(replica, self.loads)) if self.loads else replica

    def is_shortened(self, replica: ReplicaModel) -> bool:
        """Whether the replica's context is shorter than the model's own."""
        return replica.longest < self.requirements.planned_max_len


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The result: the plan that needs the fewest GPUs in total, and the alternatives that were considered."""

    inputs: StudyInputs
    plan: Plan
    replica: ReplicaModel
    sized: SizingResult
    day: Day
    considered: tuple[str, ...]

    @property
    def gpus(self) -> int:
        """GPUs of all replicas together."""
        return self.sized.replicas * self.replica.cards


def study(inputs: StudyInputs, plans: Sequence[Plan]) -> Study:
    """Find the fewest GPUs that meet the latency target; `plans` spread one replica over more and more GPUs.

    Raises DoesNotFit, or UsageError for requests that are too long and GPUs of unknown speed.
    """
    best: tuple[Plan, ReplicaModel, SizingResult] | None = None
    considered: list[str] = []
    for plan in plans:
        replica = inputs.replica(plan)
        sized = size(inputs.workload, replica)
        considered.append(_summary(replica, plan, sized, inputs))
        if sized is None:
            continue
        if best is not None and sized.replicas * replica.cards >= best[2].replicas * best[1].cards:
            if inputs.is_shortened(replica):
                continue  # the KV cache grows more than the number of GPUs
            break  # more tensor parallelism communicates more and gains less
        best = plan, replica, sized
    if best is None:
        raise _too_slow(inputs, plans)
    plan, replica, sized = best
    gpus = sized.replicas * replica.cards
    if inputs.limit is not None and gpus > inputs.limit:
        users = most_users(inputs.workload, replica, inputs.limit // replica.cards)
        raise DoesNotFit(
            pluralized(
                inputs.workload.users,
                "{number} user needs {gpus} x {name}, and {limit}.",
                "{number} users need {gpus} x {name}, and {limit}.",
                gpus=gpus,
                name=replica.name,
                limit=pluralized(inputs.limit, "there is {number}", "there are {number}"),
            ),
            pluralized(users, "These answer {number} user in time.", "These answer {number} users in time.")
            if users
            else "",
        )
    return Study(
        inputs=inputs,
        plan=plan,
        replica=replica,
        sized=sized,
        day=simulate_day(inputs.workload, replica, sized.replicas, queues=sized.peak_hour.queues),
        considered=tuple(considered) if len(considered) > 1 else (),
    )


def _summary(replica: ReplicaModel, plan: Plan, sized: SizingResult | None, inputs: StudyInputs) -> str:
    tensor_parallel_size = plan.tensor_parallel_size
    if sized is None:
        return msg(
            "tensor parallel {tensor}: {seconds} s for a user alone",
            tensor=tensor_parallel_size,
            seconds=Number(single_user(inputs.workload, replica).p95, ".1f"),
        )
    line = msg(
        "tensor parallel {number}: {number2} x {name}",
        number=tensor_parallel_size,
        number2=sized.replicas * replica.cards,
        name=replica.name,
    )
    if inputs.is_shortened(replica):
        return msg("{plan}, with --max-model-len {tokens}", plan=line, tokens=replica.longest)
    return line


def _too_slow(inputs: StudyInputs, plans: Sequence[Plan]) -> DoesNotFit:
    workload = inputs.workload
    seconds, replica = min(
        ((single_user(workload, replica).p95, replica) for replica in map(inputs.replica, plans)),
        key=lambda pair: pair[0],
    )
    faster = ", ".join(_faster(inputs, plans[0])) if not inputs.loads else ""
    return DoesNotFit(
        msg(
            "A request of {prompt} and {answer} tokens takes {seconds} s on {cards} where it is alone, over the "
            "{asked} s asked for: no number of such replicas would do.",
            prompt=workload.prompt,
            answer=workload.answer,
            seconds=Number(seconds, ".1f"),
            cards=replica.title,
            asked=Number(workload.latency_p95, "g"),
        ),
        msg("This would fit: {gpus}.", gpus=faster) if faster else "Ask for shorter answers, or for more time.",
    )


def _faster(inputs: StudyInputs, plan: Plan) -> Iterator[str]:
    """The slowest GPUs of cloud providers that answer a single user in time."""
    rented = sorted((gpu for gpu in gpu_models() if gpu.cloud and gpu.bandwidth), key=lambda gpu: gpu.bandwidth or 0)
    suggested = 0
    for gpu in rented:
        if suggested == _MAX_SUGGESTIONS or (plan.gpus and gpu is find_gpu(plan.gpus[0].name)):
            continue
        seconds = _single_user_seconds(inputs, gpu)
        if seconds is not None and seconds <= inputs.workload.latency_p95:
            suggested += 1
            yield f"{gpu.short_name} ({seconds:.1f} s)"


def _single_user_seconds(inputs: StudyInputs, gpu: GpuModel) -> float | None:
    """Seconds of a single user's request; None where the model does not fit on such GPUs."""
    try:
        plan = make_plan(inputs.requirements, idle_machine([gpu] * MAX_GPUS), Device.CUDA, Device.CUDA)
    except UsageError:
        raise
    except MariTalkError:
        return None
    return single_user(inputs.workload, inputs.replica(plan)).p95
