"""Whether what is asked for on vLLM's own routes ever fits: into the model's context, and into the server."""

import httpx
from starlette.types import ASGIApp

from ..engine.admission import too_many
from ..errors import too_long
from .maritaca import BATCH, CHAT, COMPLETIONS, Body

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


def check_answers(path: str, body: Body, limit: int | None) -> None:
    """Answers that `limit` has no room for, all prompts of the request together. vLLM would say to try again later.

    Raises RequestError.
    """
    prompts, n = _prompts(path, body), body.get("n") or 1
    if limit is not None and isinstance(n, int | float) and prompts * n > limit:
        raise too_many(prompts, int(n), limit)


def _prompts(path: str, body: Body) -> int:
    if path == BATCH:
        messages = body.get("messages")
        return len(messages) if isinstance(messages, list) else 1
    prompt = body.get("prompt")
    # A list of numbers is one prompt.
    if path != COMPLETIONS or not isinstance(prompt, list) or (prompt and isinstance(prompt[0], int)):
        return 1
    return len(prompt)
