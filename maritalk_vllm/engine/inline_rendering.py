"""Short prompts become tokens on the event loop, on all routes: a thread would take longer to start.

vLLM applies the chat template and tokenizes in a thread, and collects the results in tasks. Under load the thread waits
for the interpreter's lock, which the event loop gives up every 5 ms, more than once for each prompt; and one thread
serves all requests, so that new ones wait for each other.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

INLINE_CHARACTERS = 4096
"""Maximum characters of a prompt that is tokenized on the event loop, which takes 1 to 3 ms."""

_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
"""Types of the parts of a message that are text."""

_VALUE_CHARACTERS = 16
"""Cost of a message, a field or a list in a chat template, in characters to tokenize."""


def render_inline(client: "EngineClient") -> None:
    """Patch the renderer of `client`: what is short is rendered by its synchronous methods."""
    renderer: Any = client.renderer
    render_chat_async, render_cmpl_async = renderer.render_chat_async, renderer.render_cmpl_async

    async def render_chat(conversations: Sequence[Any], params: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        messages = [message for conversation in conversations for message in conversation]
        if all(map(_is_text, messages)) and is_short([messages, params.chat_template_kwargs]):
            return renderer.render_chat(conversations, params, *rest, **named)
        return await render_chat_async(conversations, params, *rest, **named)

    async def render_cmpl(prompts: Sequence[Any], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if is_short(prompts):
            return renderer.render_cmpl(prompts, *rest, **named)
        return await render_cmpl_async(prompts, *rest, **named)

    renderer.render_chat_async, renderer.render_cmpl_async = render_chat, render_cmpl


def is_short(given: object) -> bool:
    """Whether all texts in `given`, prompts or messages with what a chat template gets beside them, are short.

    Anything but texts, numbers and their containers is not: vLLM reads embeddings in threads.
    """
    size, pending = 0, [given]
    while pending and size <= INLINE_CHARACTERS:
        each = pending.pop()
        size += _VALUE_CHARACTERS
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, Mapping):
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
        elif each is not None and not isinstance(each, bool | int | float):
            return False
    return size <= INLINE_CHARACTERS


def _is_text(message: object) -> bool:
    """Whether the content of a message is text: vLLM fetches and decodes images and sounds in threads."""
    content = message.get("content") if isinstance(message, Mapping) else message
    parts = content if isinstance(content, list) else [content]
    return all(part is None or isinstance(part, str) or _is_text_part(part) for part in parts)


def _is_text_part(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXT_PARTS
