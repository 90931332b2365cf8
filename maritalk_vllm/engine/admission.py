"""More answers at once than the server ever takes: vLLM says to try again later, as if the server were busy."""

from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient


def most_answers(client: "EngineClient") -> int | None:
    """How many answers the engine has room for at once, those that wait included; None without a limit."""
    limit: int | None = client.vllm_config.scheduler_config.max_num_queued_reqs
    return limit


def refuse_the_impossible(client: "EngineClient") -> None:
    """Have this client refuse a request for more answers than there is ever room for as one that is not valid."""
    check, limit = client.check_admission, most_answers(client)

    def check_possible(n: int = 1, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        if limit is not None and n > limit:
            from vllm.exceptions import VLLMValidationError

            raise VLLMValidationError(str(too_many(1, n, limit)), parameter="n")
        check(n, *rest, **named)

    client.check_admission = check_possible


def too_many(prompts: int, n: int, limit: int) -> RequestError:
    """More answers than the server ever takes at once: `n` to each of so many prompts."""
    asked = f"n is {n}" if prompts == 1 else f"The request has {prompts} prompts and n is {n}"
    return RequestError(
        f"{asked}: together {prompts * n} answers, over this server's limit of {limit} at once.",
        "Send several requests.",
    )
