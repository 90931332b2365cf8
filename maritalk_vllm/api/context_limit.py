"""Whether what is asked for on vLLM's own routes ever fits: into the model's context, and into the server."""

import httpx
from starlette.types import ASGIApp

from ..engine.admission import check_answers
from ..errors import RequestError, too_long
from .openai_dialect import BATCH, CHAT, COMPLETIONS, Body

# A token is a byte of the request at least. What a chat template adds is not in the request.
_TEMPLATE_TOKENS = 1024

_RENDERED = ("model", "messages", "prompt", "tools", "chat_template_kwargs", "add_special_tokens")


async def check_context(app: ASGIApp, path: str, body: Body, size: int, limit: int) -> None:
    """Maritaca's reference: prompt and `max_tokens` have to fit together. vLLM would give a shorter answer instead.

    `size` of the request in bytes, `limit` of the context in tokens. vLLM's `/tokenize` counts, where there is a doubt.
    Raises RequestError.
    """
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    if path not in (CHAT, COMPLETIONS) or not isinstance(asked, int) or asked > limit:
        return  # the last is refused by vLLM
    if size + _TEMPLATE_TOKENS + asked <= limit:
        return
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://vllm") as client:
        counted = await client.post("/tokenize", json={name: body[name] for name in _RENDERED if name in body})
    if counted.status_code == 200 and counted.json()["count"] + asked > limit:
        raise too_long(counted.json()["count"], asked, limit)


def check_room(path: str, body: Body, limit: int | None) -> None:
    """Answers that the server has no room for, all prompts of the request together. vLLM would say to try again later.

    Raises RequestError, also for a search by beams: each of its steps asks the engine anew for each beam.
    """
    if body.get("use_beam_search"):
        raise RequestError("use_beam_search: this server offers no beam search.", "Leave it out.")
    check_answers(_prompts(path, body), _whole(body.get("n")), limit)


def _whole(n: object) -> int:
    """`n` as vLLM reads it, which takes `"2"` for a number too; 1 for what it refuses."""
    try:
        return int(n) if isinstance(n, int | float | str) else 1
    except (ValueError, OverflowError):
        return 1


def _prompts(path: str, body: Body) -> int:
    if path == BATCH:
        messages = body.get("messages")
        return len(messages) if isinstance(messages, list) else 1
    if path != COMPLETIONS:
        return 1
    prompt, embeddings = body.get("prompt"), body.get("prompt_embeds")
    # A list of numbers is one prompt.
    several = isinstance(prompt, list) and not (prompt and isinstance(prompt[0], int))
    counted = len(prompt) if several and isinstance(prompt, list) else 1
    return counted + (len(embeddings) if isinstance(embeddings, list) else 0)
