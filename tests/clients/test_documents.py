"""The documents' Python examples for clients that only this lane installs."""

import pytest

from tests.clients.environments import python
from tests.documents.examples import examples, run
from tests.serving import Server

pytestmark = pytest.mark.clients

CLIENTS = {
    "langchain_maritaca": "langchain-maritaca-0.4.1",
    "langchain_openai": "langchain-openai-1.7.4",
    "litellm": "litellm-1.106.2",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_documented_example_prints_its_answer(client: str, shared_server: Server) -> None:
    assert run(python(CLIENTS[client]), examples()[client], shared_server)
