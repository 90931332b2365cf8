"""More answers than there is ever room for are told from those that have to wait."""

from types import SimpleNamespace

import pytest

from maritalk_vllm.engine.admission import max_answers, reject_impossible_requests
from maritalk_vllm.engine.exception_mapping import map_vllm_exceptions
from maritalk_vllm.errors import RequestError, Unavailable

# What vLLM imports warns of itself.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


class Client:
    """Stands for vLLM's client with a limit, of whose answers so many are taken up already."""

    def __init__(self, limit: int | None, busy: int = 0) -> None:
        self.vllm_config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_queued_reqs=limit))
        self._limit, self._busy = limit, busy

    def check_admission(self, n: int = 1, request_id: str | None = None) -> None:
        from vllm.exceptions import QueueOverflowError

        if self._limit is not None and self._busy + n > self._limit:
            raise QueueOverflowError


def asked(client: Client, n: int) -> None:
    reject_impossible_requests(client)
    with map_vllm_exceptions():
        client.check_admission(n, "0")


def test_what_never_fits_is_the_requests_fault() -> None:
    with pytest.raises(RequestError, match=r"n is 3: together 3 answers, over this server's limit of 2 at once\."):
        asked(Client(2), 3)


@pytest.mark.parametrize("limit", [None, 256, 4096])
def test_more_answers_to_a_prompt_than_any_route_takes(limit: int | None) -> None:
    with pytest.raises(RequestError, match=r"n is 129, over this server's limit of 128 answers to a prompt\."):
        asked(Client(limit), 129)


def test_what_fits_later_is_to_come_again() -> None:
    with pytest.raises(Unavailable):
        asked(Client(2, busy=1), 2)


@pytest.mark.parametrize(("limit", "n"), [(2, 2), (2, 1), (None, 128)])
def test_what_fits_is_taken(limit: int | None, n: int) -> None:
    asked(Client(limit), n)
    assert max_answers(Client(limit)) == limit
