"""Temperatures above 2, which MariTalk Local always took and vLLM refuses at its door since 0.24."""

import functools
import math
import os
from typing import Any

from ..settings import environment_variable
from .log_redaction import keep_texts_out

_VLLM_LIMIT = 2.0

OPT_IN = environment_variable("any_temperature")
"""Set in the environment of our own server's processes."""


def plugin() -> None:
    """Entry point of the group `vllm.general_plugins`, which vLLM runs in each of its processes.

    vLLM runs it wherever this package is installed, so it acts only in our own server, or where VLLM_PLUGINS names us.
    """
    if os.environ.get(OPT_IN):
        keep_texts_out()  # also where Ray has started this process, and not we
    if os.environ.get(OPT_IN) or "maritalk" in os.environ.get("VLLM_PLUGINS", "").split(","):
        allow_any_temperature()


def allow_any_temperature() -> None:
    """Lift the upper bound of SamplingParams' temperature in this process and in those forked from it.

    The bound only repeats OpenAI's API (vLLM pull request 44965); its samplers divide by any number. The check runs
    again where the engine decodes a request, so a value that was smuggled past it would stop the engine.
    """
    from vllm.sampling_params import SamplingParams

    verify = SamplingParams._verify_args
    if hasattr(verify, "__wrapped__"):
        return

    @functools.wraps(verify)
    def verify_within_bound(self: Any) -> None:  # noqa: ANN401
        asked = self.temperature
        if math.isfinite(asked):
            self.temperature = min(asked, _VLLM_LIMIT)
        try:
            verify(self)
        finally:
            self.temperature = asked

    SamplingParams._verify_args = verify_within_bound
