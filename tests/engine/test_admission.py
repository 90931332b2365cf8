"""Requests for more answers than the limit are invalid; others may be retried."""

from types import SimpleNamespace

import pytest

from maritalk_vllm.engine.admission import max_answers
from maritalk_vllm.engine.engine_client import LimitedClient
from maritalk_vllm.engine.exception_mapping import map_vllm_exceptions
from maritalk_vllm.errors import RequestError, Unavailable

# Imports of vLLM cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


class Queue:
    """Stands for vLLM's client with a limit, with `busy` answers in the engine."""

    def __init__(self, limit: int | None, busy: int = 0) -> None:
        self.vllm_config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_queued_reqs=limit))
        self.output_processor = SimpleNamespace(add_request=None)
        self._limit, self._busy = limit, busy

    def check_admission(self, n: int = 1, request_id: str | None = None) -> None:
        from vllm.exceptions import QueueOverflowError

        if self._limit is not None and self._busy + n > self._limit:
            raise QueueOverflowError


class Client(LimitedClient, Queue):
    """Such a client with our own limits."""


def check(client: Client, n: int) -> None:
    with map_vllm_exceptions():
        client.check_admission(n, "0")


def test_more_answers_than_the_limit_are_invalid() -> None:
    with pytest.raises(RequestError, match=r"n is 3: together 3 answers, over this server's limit of 2 at once\."):
        check(Client(2), 3)


@pytest.mark.parametrize("limit", [None, 256, 4096])
def test_n_over_128_is_invalid(limit: int | None) -> None:
    with pytest.raises(RequestError, match=r"n is 129, over this server's limit of 128 answers to a prompt\."):
        check(Client(limit), 129)


def test_full_queue_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        check(Client(2, busy=1), 2)


@pytest.mark.parametrize(("limit", "n"), [(2, 2), (2, 1), (None, 128)])
def test_answers_within_the_limit_are_accepted(limit: int | None, n: int) -> None:
    check(Client(limit), n)
    assert max_answers(Client(limit)) == limit
