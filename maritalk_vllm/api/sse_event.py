"""One server-sent event, as MariTalk clients read it: line by line, each line that begins with `data: ` as JSON."""

import json
from typing import Any

import msgspec


def event(content: msgspec.Struct | dict[str, Any], kind: str = "") -> str:
    """One event. Its JSON is ASCII, and the text in it nowhere reads `data: `.

    Clients split lines where Unicode does (U+2028, U+0085), and take every `data: ` out of a line, wherever it stands.
    """
    text = json.dumps(msgspec.to_builtins(content)).replace("data: ", "data\\u003a ")
    return (f"event: {kind}\n" if kind else "") + f"data: {text}\n\n"
