"""More answers at once than the server ever takes: vLLM says to try again later, as if the server were busy."""

from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .exception_mapping import map_to_vllm_exceptions

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MOST_ANSWERS = 128
"""To one prompt, on every route, as OpenAI has it."""

MOST_PROMPTS = 256
"""In one request."""


def most_answers(client: "EngineClient") -> int | None:
    """How many answers the engine has room for at once, those that wait included; None without a limit."""
    limit: int | None = client.vllm_config.scheduler_config.max_num_queued_reqs
    return limit


def refuse_the_impossible(client: "EngineClient") -> None:
    """Have this client refuse a request for more answers than there is ever room for as one that is not valid."""
    check, limit = client.check_admission, most_answers(client)

    def check_possible(n: int = 1, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        with map_to_vllm_exceptions():
            check_answers(1, n, limit)
        check(n, *rest, **named)

    client.check_admission = check_possible


def check_answers(prompts: int, n: int, limit: int | None) -> None:
    """`n` answers to each of so many prompts, where the server takes `limit` at once. Raises RequestError."""
    if prompts > MOST_PROMPTS:
        raise RequestError(
            f"The request has {prompts} prompts, over this server's limit of {MOST_PROMPTS}.", "Send several requests."
        )
    if n > MOST_ANSWERS:
        raise RequestError(
            f"n is {n}, over this server's limit of {MOST_ANSWERS} answers to a prompt.", "Send several requests."
        )
    if limit is not None and prompts * n > limit:
        asked = f"n is {n}" if prompts == 1 else f"The request has {prompts} prompts and n is {n}"
        raise RequestError(
            f"{asked}: together {prompts * n} answers, over this server's limit of {limit} at once.",
            "Send several requests.",
        )
