"""Limits on the answers of a request. For more than the queue can hold, vLLM would answer that the server is busy."""

from typing import TYPE_CHECKING

from ..errors import RequestError

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MAX_ANSWERS = 128
"""Maximum `n`, answers to one prompt, on every route: the limit of OpenAI's API."""

MAX_PROMPTS = 256
"""Maximum prompts in one request."""


def max_answers(client: "EngineClient") -> int | None:
    """Maximum answers in the engine at once, running and queued; None without a limit."""
    limit: int | None = client.vllm_config.scheduler_config.max_num_queued_reqs
    return limit


def max_running(client: "EngineClient") -> int:
    """Maximum requests that all replicas compute at once; others wait."""
    config = client.vllm_config
    return int(config.scheduler_config.max_num_seqs) * int(config.parallel_config.data_parallel_size)


def is_compute_bound(client: "EngineClient") -> bool:
    """Whether each further request lengthens a step in proportion, as EngineLoad has it."""
    return bool(client.vllm_config.device_config.device_type == "cpu")


def check_answers(prompts: int, n: int, limit: int | None) -> None:
    """Check a request for `n` answers to each of `prompts` prompts against `limit`. Raises RequestError."""
    if prompts > MAX_PROMPTS:
        raise RequestError(
            f"The request has {prompts} prompts, over this server's limit of {MAX_PROMPTS}.", "Send several requests."
        )
    if n > MAX_ANSWERS:
        raise RequestError(
            f"n is {n}, over this server's limit of {MAX_ANSWERS} answers to a prompt.", "Send several requests."
        )
    if limit is not None and prompts * n > limit:
        asked = f"n is {n}" if prompts == 1 else f"The request has {prompts} prompts and n is {n}"
        raise RequestError(
            f"{asked}: together {prompts * n} answers, over this server's limit of {limit} at once.",
            "Send several requests.",
        )
