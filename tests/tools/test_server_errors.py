"""The server's errors in the language of a command."""

from collections.abc import Iterator

import pytest

from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.tools.server_errors import localized_error


@pytest.fixture(autouse=True)
def reset_language() -> Iterator[None]:
    yield
    choose(Language.ENGLISH)


@pytest.mark.parametrize(
    ("english", "portuguese"),
    [
        (
            "This API key is not one of this server's. Check it, or ask the server's administrator.",
            "Esta chave de API não é deste servidor. Confira a chave ou fale com quem administra o servidor.",
        ),
        (
            "This server needs an API key. Send it as `Authorization: Bearer KEY`.",
            "Este servidor pede uma chave de API. Envie-a como `Authorization: Bearer KEY`.",
        ),
        (
            "This key has used up its 10 requests a minute. Wait 3.5 s.",
            "Esta chave já usou os seus 10 pedidos por minuto. Espere 3.5 s.",
        ),
        (
            "The server is stopping. So it seems.",
            "O servidor está encerrando. So it seems.",
        ),
        ("Another server's sentence. The server is stopping.", "Another server's sentence. The server is stopping."),
        ("", ""),
    ],
)
def test_known_sentences_are_translated(english: str, portuguese: str) -> None:
    assert localized_error(english) == english
    choose(Language.PORTUGUESE)
    assert localized_error(english) == portuguese
