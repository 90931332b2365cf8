"""The parser of server-sent events."""

import pytest

from maritalk_vllm.tools.chat.sse_parser import events


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ('data: {"text": "a"}\n\n', [("message", {"text": "a"})]),
        ('event: end\ndata: {"output": "a"}\n\n', [("end", {"output": "a"})]),
        (': keep-alive\n\ndata: {"a": 1}\n\n', [("message", {"a": 1})]),
        ('data:{"a": 1}\n\n', [("message", {"a": 1})]),
        ('data: {"a":\ndata:  1}\n\n', [("message", {"a": 1})]),
        ('event: end\n\ndata: {"a": 1}\n\n', [("message", {"a": 1})]),
        ('id: 7\nretry: 10\ndata: {"a": 1}\n\n', [("message", {"a": 1})]),
        ('data: {"a": 1}\n', []),
        ("", []),
    ],
)
def test_events(stream: str, expected: list[tuple[str, object]]) -> None:
    assert list(events(stream.splitlines())) == expected


@pytest.mark.parametrize("data", ["[1]", "{", "[DONE]"])
def test_data_must_be_a_json_object(data: str) -> None:
    with pytest.raises(ValueError):
        list(events([f"data: {data}", ""]))
