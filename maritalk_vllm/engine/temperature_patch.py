"""Allow temperatures above 2, which MariTalk Local always accepted and vLLM rejects since 0.24."""

import functools
import math
import os
from typing import Any

from ..settings import environment_variable
from .log_redaction import redact_step_dumps
from .mig_patch import resolve_mig_instances

_VLLM_LIMIT = 2.0

OPT_IN = environment_variable("any_temperature")
"""Environment variable, set in all processes of our own server."""


def plugin() -> None:
    """Entry point of the group `vllm.general_plugins`, which vLLM calls in each of its processes.

    vLLM calls it wherever this package is installed, so it acts only in our own server, or if VLLM_PLUGINS names it.
    """
    if os.environ.get(OPT_IN):
        # Needed in processes that are not forked: vLLM spawns them, or Ray starts them.
        redact_step_dumps()
        resolve_mig_instances()
    if os.environ.get(OPT_IN) or "maritalk" in os.environ.get("VLLM_PLUGINS", "").split(","):
        allow_any_temperature()


def allow_any_temperature() -> None:
    """Lift the upper bound of SamplingParams' temperature in this process and in processes forked from it.

    The bound only mirrors OpenAI's API (vLLM pull request 44965); vLLM's samplers divide by any number. The engine
    process validates again when it decodes a request, so bypassing the check in the API process alone would stop the
    engine.
    """
    from vllm.sampling_params import SamplingParams

    verify = SamplingParams._verify_args
    if hasattr(verify, "__wrapped__"):
        return

    @functools.wraps(verify)
    def verify_clamped(self: Any) -> None:  # noqa: ANN401
        requested = self.temperature
        if math.isfinite(requested):
            self.temperature = min(requested, _VLLM_LIMIT)
        try:
            verify(self)
        finally:
            self.temperature = requested

    SamplingParams._verify_args = verify_clamped
