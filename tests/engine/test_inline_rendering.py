"""Which prompts are rendered on the event loop, on a stand-in for vLLM's renderer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from maritalk_vllm.engine.inline_rendering import INLINE_CHARACTERS, render_inline


class Renderer:
    """Stands for vLLM's renderer: names the method that a prompt reached."""

    def render_chat(self, conversations: Any, params: Any, tok_params: Any = None, *, extra: int = 0) -> str:
        return "inline"

    async def render_chat_async(
        self, conversations: Any, params: Any, tok_params: Any = None, *, extra: int = 0
    ) -> str:
        return "thread"

    def render_cmpl(self, prompts: Any, tok_params: Any = None) -> str:
        return "inline"

    async def render_cmpl_async(self, prompts: Any, tok_params: Any = None) -> str:
        return "thread"


def renderer() -> Renderer:
    made = Renderer()
    client: Any = SimpleNamespace(renderer=made)
    render_inline(client)
    return made


LONG = "a" * INLINE_CHARACTERS
IMAGE = {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("olá", "inline"),
        (None, "inline"),
        ([{"type": "text", "text": "olá"}, "bom dia"], "inline"),
        (LONG, "thread"),
        # What has to be fetched or decoded would block the event loop.
        ([{"type": "text", "text": "olá"}, IMAGE], "thread"),
        ([{"image_url": "http://example.com/a.png"}], "thread"),
        (iter(["olá"]), "thread"),
    ],
)
def test_short_texts_are_rendered_on_the_event_loop(content: object, place: str) -> None:
    message = {"role": "user", "content": content}
    parameters = SimpleNamespace(chat_template_kwargs={"tools": None, "add_generation_prompt": True})
    assert asyncio.run(renderer().render_chat_async([[message]], parameters, None, extra=1)) == place


@pytest.mark.parametrize(
    ("number", "tools", "place"),
    [
        (10, [{"type": "function", "function": {"name": "a"}}], "inline"),
        # Tools are a part of the prompt, and many short messages take the template long.
        (1, [{"type": "function", "function": {"name": LONG}}], "thread"),
        (INLINE_CHARACTERS // 16, [], "thread"),
    ],
)
def test_all_that_the_template_gets_counts(number: int, tools: list[object], place: str) -> None:
    messages = [{"role": "user", "content": ""}] * number
    parameters = SimpleNamespace(chat_template_kwargs={"tools": tools})
    assert asyncio.run(renderer().render_chat_async([messages], parameters)) == place


@pytest.mark.parametrize(
    ("prompts", "place"),
    [
        ([{"prompt": "olá"}], "inline"),
        ([{"prompt_token_ids": [1, 2, 3]}], "inline"),
        ([{"prompt": LONG}], "thread"),
        ([{"prompt": LONG[: INLINE_CHARACTERS // 2]}] * 2, "thread"),
        ([b"embeddings"], "thread"),
    ],
)
def test_short_prompts_are_tokenized_on_the_event_loop(prompts: Any, place: str) -> None:
    assert asyncio.run(renderer().render_cmpl_async(prompts)) == place
