"""Check that requests to vLLM's own routes can fit into the model's context and the server's queue."""

import httpx
from starlette.types import ASGIApp

from ..engine.admission import check_answers
from ..errors import RequestError, too_long
from .openai_dialect import BATCH, CHAT, COMPLETIONS, Body

# A token is at least one byte of the request, except those that the chat template adds.
_TEMPLATE_TOKENS = 1024

_TOKENIZE_FIELDS = ("model", "messages", "prompt", "tools", "chat_template_kwargs", "add_special_tokens")


async def check_context(app: ASGIApp, path: str, body: Body, size: int, limit: int) -> None:
    """Check that prompt and `max_tokens` fit into the context together, as Maritaca's API reference requires.

    vLLM would shorten the answer instead. `size` is the request's length in bytes, `limit` the context in tokens. If
    the size alone does not decide, vLLM's `/tokenize` counts the tokens. Raises RequestError.
    """
    max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    if path not in (CHAT, COMPLETIONS) or not isinstance(max_tokens, int) or max_tokens > limit:
        return  # vLLM rejects max_tokens above the limit
    if size + _TEMPLATE_TOKENS + max_tokens <= limit:
        return
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vllm") as client:
        response = await client.post("/tokenize", json={name: body[name] for name in _TOKENIZE_FIELDS if name in body})
    if response.status_code == 200 and response.json()["count"] + max_tokens > limit:
        raise too_long(response.json()["count"], max_tokens, limit)


def check_capacity(path: str, body: Body, limit: int | None) -> None:
    """Check that all answers of a request fit into `limit`. vLLM would answer that the server is busy.

    Raises RequestError, also for beam search: each of its steps sends a new engine request for each beam.
    """
    if body.get("use_beam_search"):
        raise RequestError("use_beam_search: this server offers no beam search.", "Leave it out.")
    check_answers(_count_prompts(path, body), _as_int(body.get("n")), limit)


def _as_int(n: object) -> int:
    """`n` as vLLM parses it, which also accepts `"2"`; 1 for values that vLLM rejects."""
    try:
        return int(n) if isinstance(n, int | float | str) else 1
    except (ValueError, OverflowError):
        return 1


def _count_prompts(path: str, body: Body) -> int:
    if path == BATCH:
        messages = body.get("messages")
        return len(messages) if isinstance(messages, list) else 1
    if path != COMPLETIONS:
        return 1
    prompt, embeddings = body.get("prompt"), body.get("prompt_embeds")
    # A list of numbers is a single prompt of token ids.
    is_batch = isinstance(prompt, list) and not (prompt and isinstance(prompt[0], int))
    count = len(prompt) if is_batch and isinstance(prompt, list) else 1
    return count + (len(embeddings) if isinstance(embeddings, list) else 0)
