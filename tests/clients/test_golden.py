"""Our server gives the same answers as vLLM."""

import pytest

from tests.clients.answers import cloud_texts, maritalk_texts, openai_texts
from tests.serving import Server

pytestmark = pytest.mark.clients


def test_our_server_gives_vllms_own_answers(shared_server: Server, golden_texts: list[str]) -> None:
    assert cloud_texts(shared_server) == openai_texts(shared_server) == golden_texts
    assert maritalk_texts(shared_server) == [text.removeprefix(" ") for text in golden_texts]
