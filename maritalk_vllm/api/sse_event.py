"""Format one server-sent event for MariTalk clients, which parse each line that starts with `data: ` as JSON."""

import json
from typing import Any

import msgspec


def event(content: msgspec.Struct | dict[str, Any], kind: str = "") -> str:
    """Format an event. Its JSON is ASCII and does not contain `data: `.

    Clients also split lines at Unicode line breaks (U+2028, U+0085), and remove every `data: ` from a line.
    """
    text = json.dumps(msgspec.to_builtins(content)).replace("data: ", "data\\u003a ")
    return (f"event: {kind}\n" if kind else "") + f"data: {text}\n\n"
