"""Server-sent events, as a client reads them: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


def events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each event's type (`message` where it has none) and content. Raises ValueError for content that is no object.

    Comments, which keep a stream alive, are passed over; so is a last event that is not whole.
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
