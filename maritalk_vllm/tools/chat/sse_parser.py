"""Client-side parser of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event's type (`message` by default) and content. Raises ValueError for data that is not a JSON object.

    Comments (keep-alive) and an incomplete last event are ignored.
    """
    kind, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                content = json.loads("\n".join(data))
                if not isinstance(content, dict):
                    raise ValueError("an event that is no object")
                yield kind or "message", content
            kind, data = "", list[str]()
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)
