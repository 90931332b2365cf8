"""Limits on request bodies, checked before parsing and tokenizing.

Parsing JSON, validating fields and rendering a chat template block the event loop, for a time that grows with the
number of values in the body. A body of 16 MB can contain millions.
"""

from typing import Any

from ..engine.prompt_limits import check_characters, check_number
from ..errors import RequestError

MAX_STRINGS = 50_000
"""Maximum strings, keys included: as many as in twelve thousand messages. Each costs 3 to 4 µs on vLLM's routes."""

MAX_CONTAINERS = 50_000
"""Maximum objects and lists."""

MAX_VALUES = 500_000
"""Maximum values of all kinds: a prompt may be a list of token ids."""

MAX_STOPS = 64
"""Maximum stop sequences, as on MariTalk's own routes: each is searched for after each token."""

MAX_BAD_WORDS = 256
"""Maximum bad words: each is tokenized twice."""

MAX_NAME_CHARACTERS = 1000
"""Maximum characters of a model name, which errors and the log repeat."""


def check_values(body: bytes) -> None:
    """Count the values of a JSON body without parsing it. Raises RequestError for too many."""
    is_small = body.count(b'"') <= 2 * MAX_STRINGS and body.count(b"[") + body.count(b"{") <= MAX_CONTAINERS
    if is_small and body.count(b",") < MAX_VALUES:
        return
    # Escaped quotation marks and backslashes do not delimit strings.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    _check("strings", plain.count(b'"') // 2, MAX_STRINGS)
    outside = b"".join(plain.split(b'"')[::2])
    _check("objects and lists", outside.count(b"[") + outside.count(b"{"), MAX_CONTAINERS)
    _check("values", outside.count(b",") + 1, MAX_VALUES)


def check_fields(body: dict[str, Any]) -> None:
    """Check fields of vLLM's routes whose length alone is costly. Raises RequestError."""
    for name, most in (("stop", MAX_STOPS), ("stop_sequences", MAX_STOPS), ("bad_words", MAX_BAD_WORDS)):
        if isinstance(given := body.get(name), list) and len(given) > most:
            raise RequestError(f"{name}: {len(given)} were given, over this server's limit of {most}.", "Send fewer.")
    if isinstance(model := body.get("model"), str) and len(model) > MAX_NAME_CHARACTERS:
        raise RequestError(
            f"model: the name has {len(model)} characters, over this server's limit of {MAX_NAME_CHARACTERS}.",
            "/v1/models lists the models.",
        )


def check_texts(body: dict[str, Any], context_length: int, max_characters: int) -> None:
    """Check that prompts are short enough, in characters, to possibly fit into the context. Raises RequestError.

    `max_characters`: the length of `context_length` times the longest token.
    """
    prompt, messages = body.get("prompt"), body.get("messages")
    prompts = [len(each) for each in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(each, str)]
    is_batch = isinstance(messages, list) and all(isinstance(each, list) for each in messages)
    conversations = messages if is_batch and messages else [messages]
    # All texts of a conversation become one prompt.
    other_texts = sum(_characters(body.get(name)) for name in ("input", "instructions", "system"))
    check_characters(
        prompts + [other_texts + _characters(each) for each in conversations], context_length, max_characters
    )
    lists = [(name, body.get(name)) for name in ("tokens", "input")] + [("messages", each) for each in conversations]
    for name, given in lists:
        if isinstance(given, list):
            check_number(name, len(given), context_length)


def _characters(given: object) -> int:
    """Count the characters of a text, or of the texts in messages or parts."""
    count, pending = 0, [given]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            count += len(each)
        elif isinstance(each, dict):
            pending += [each.get("content"), each.get("text"), each.get("output")]
        elif isinstance(each, list):
            pending += each
    return count


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        raise RequestError(
            f"The body has {found:,} {what}, over this server's limit of {most:,}.", "Send less at once."
        )
