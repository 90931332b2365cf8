"""The Python examples, with the clients that `make test` installs; tests/clients/test_documents.py has the others."""

import sys
from json import JSONDecoder
from pathlib import Path

import pytest

from tests.clients import test_documents
from tests.clients.environments import python
from tests.documents.examples import examples, run
from tests.serving import Server

CLIENTS = {
    "maritalk": python("maritalk-0.3.2"),
    # Dependencies of vLLM.
    "openai": Path(sys.executable),
    "anthropic": Path(sys.executable),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_documented_example_prints_its_answer(client: str, shared_server: Server) -> None:
    printed = run(CLIENTS[client], examples()[client], shared_server)
    assert printed.strip()
    if client != "anthropic":  # its client has no argument for the temperature
        assert "Tokyo" in printed
    if client == "openai":  # docs/api.md's example of a JSON Schema is the first
        assert JSONDecoder().raw_decode(printed)[0].keys() == {"city", "is_capital"}
    if client == "maritalk":
        assert printed.startswith("{'status': 'idle'}\n")


def test_every_example_is_run() -> None:
    assert set(examples()) == {*CLIENTS, *test_documents.CLIENTS}
