"""Number of API processes for a plan."""

from collections.abc import Mapping

from ..errors import UsageError
from ..i18n.message import msg
from ..settings import Device
from .plan import Plan

AUTO = "auto"
CORES_EACH = 8
"""Cores of the host for each API process that `auto` starts, which keeps one busy: a replica's engine process and each
of its workers need one of their own."""

MAX_PROCESSES = 64

_STATE_IN_ONE_PROCESS = ("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_ENABLE_RESPONSES_API_STORE")
"""Variables with which vLLM keeps what later requests need, adapters and answers, in the process that got the first."""


def api_process_count(requested: str, plan: Plan, cores: int, environment: Mapping[str, str]) -> int:
    """Return the number of API processes for `--api-processes`, a number or `auto`. Raises UsageError.

    `auto` is one for each replica, as in vLLM's own server, if the host has CORES_EACH `cores` for each of them: on
    fewer, they would take them from the engines, and on a CPU all cores compute. One process is enough for one engine,
    except for a small model on a fast GPU: vLLM's takes near 800 requests a second (its issue #43469).
    """
    obstacle = _obstacle(plan, environment)
    if requested == AUTO:
        if obstacle or plan.device is Device.CPU:
            return 1
        return max(1, min(plan.data_parallel_size, cores // CORES_EACH, MAX_PROCESSES))
    if not requested.isdecimal() or not 1 <= int(requested) <= MAX_PROCESSES:
        raise UsageError(
            msg("--api-processes is {text!r}.", text=requested),
            msg("Give a number from 1 to {most}, or {auto}.", most=MAX_PROCESSES, auto=AUTO),
        )
    number = int(requested)
    if number > 1 and obstacle:
        raise UsageError(
            msg("--api-processes {number} does not work with {obstacle}.", number=number, obstacle=obstacle),
            "Leave one of the two out.",
        )
    return number


def _obstacle(plan: Plan, environment: Mapping[str, str]) -> str:
    """The settings that exclude several API processes; empty if there are none."""
    if plan.nodes > 1:
        return "--nodes"
    return next((name for name in _STATE_IN_ONE_PROCESS if environment.get(name, "0") not in ("", "0")), "")
