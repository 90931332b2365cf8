"""Events, parsed as the published clients parse them."""

import json

import pytest

from maritalk_vllm.api.cloud_schema import StreamText
from maritalk_vllm.api.sse_event import event


def parse_events(text: str) -> list[dict[str, str]]:
    """Parse like maritalk 0.2.0 to 0.3.2: httpx splits lines by str.splitlines, and every `data: ` is removed."""
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.replace("data: ", "")) for line in lines]


@pytest.mark.parametrize(
    "text",
    [
        "oi",
        "São Paulo",
        "a\nb\r\nc",
        "metadata: x",
        "data: data: ",
        "\u2028\u2029\x85\x0b\x0c",
        "😀",
        '"\\',
        "data\\u003a ",
    ],
)
def test_text_survives_parsing(text: str) -> None:
    assert parse_events(event(StreamText(text))) == [{"text": text}]


def test_format_of_an_event() -> None:
    assert event(StreamText("é")) == 'data: {"text": "\\u00e9"}\n\n'
    assert event(StreamText("x"), "end") == 'event: end\ndata: {"text": "x"}\n\n'
