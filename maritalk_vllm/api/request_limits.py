"""What a request's body may have at most, counted before it is parsed or becomes tokens.

Some work on a body has no pause in which other requests go on: reading its JSON, checking its fields, filling a chat
template. It grows with the values in the body, of which 16 MB hold millions.
"""

from typing import Any

from ..engine.prompt_limits import check_characters, check_number
from ..errors import RequestError

MOST_STRINGS = 50_000
"""Texts and names of fields: twelve thousand messages have as many. Each costs 3 to 4 µs on vLLM's routes."""

MOST_CONTAINERS = 50_000
"""Objects and lists."""

MOST_VALUES = 500_000
"""Numbers and all else: a prompt may come as a list of its tokens."""

MOST_STOPS = 64
"""Sequences that end an answer, as on MariTalk's own routes: each is looked for after each token."""

MOST_BAD_WORDS = 256
"""Each is made tokens of, twice."""

LONGEST_NAME = 1000
"""Characters of a model's name: errors and the log repeat it."""


def check_values(body: bytes) -> None:
    """Raises RequestError for a body in JSON with more values than the server takes; nothing is parsed for it."""
    few = body.count(b'"') <= 2 * MOST_STRINGS and body.count(b"[") + body.count(b"{") <= MOST_CONTAINERS
    if few and body.count(b",") < MOST_VALUES:
        return
    # What an escape stands for is neither a quotation mark nor its end.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    _check("strings", plain.count(b'"') // 2, MOST_STRINGS)
    outside = b"".join(plain.split(b'"')[::2])
    _check("objects and lists", outside.count(b"[") + outside.count(b"{"), MOST_CONTAINERS)
    _check("values", outside.count(b",") + 1, MOST_VALUES)


def check_fields(body: dict[str, Any]) -> None:
    """Raises RequestError for a field of vLLM's routes whose length alone makes work."""
    for name, most in (("stop", MOST_STOPS), ("stop_sequences", MOST_STOPS), ("bad_words", MOST_BAD_WORDS)):
        if isinstance(given := body.get(name), list) and len(given) > most:
            raise RequestError(f"{name}: {len(given)} were given, over this server's limit of {most}.", "Send fewer.")
    if isinstance(model := body.get("model"), str) and len(model) > LONGEST_NAME:
        raise RequestError(
            f"model: the name has {len(model)} characters, over this server's limit of {LONGEST_NAME}.",
            "/v1/models lists the models.",
        )


def check_texts(body: dict[str, Any], context_length: int, most_characters: int) -> None:
    """Raises RequestError for prompts that are too long in characters to fit into the context in tokens.

    `most_characters`: those of so many of the longest tokens.
    """
    prompt, messages = body.get("prompt"), body.get("messages")
    prompts = [len(each) for each in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(each, str)]
    is_batch = isinstance(messages, list) and all(isinstance(each, list) for each in messages)
    conversations = messages if is_batch and messages else [messages]
    # All texts of a conversation are in its one prompt.
    rest = sum(_characters(body.get(name)) for name in ("input", "instructions", "system"))
    check_characters(prompts + [rest + _characters(each) for each in conversations], context_length, most_characters)
    lists = [(name, body.get(name)) for name in ("tokens", "input")] + [("messages", each) for each in conversations]
    for name, given in lists:
        if isinstance(given, list):
            check_number(name, len(given), context_length)


def _characters(given: object) -> int:
    """Of a text, or of messages or parts with texts in them."""
    counted, left = 0, [given]
    while left:
        each = left.pop()
        if isinstance(each, str):
            counted += len(each)
        elif isinstance(each, dict):
            left += [each.get("content"), each.get("text"), each.get("output")]
        elif isinstance(each, list):
            left += each
    return counted


def _check(what: str, found: int, most: int) -> None:
    if found > most:
        raise RequestError(
            f"The body has {found:,} {what}, over this server's limit of {most:,}.", "Send less at once."
        )
