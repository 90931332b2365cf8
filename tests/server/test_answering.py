"""The port while no engine answers: what it tells of itself, and that each gate counts from 0."""

import asyncio

import httpx

from maritalk_vllm.server.access import Access
from maritalk_vllm.server.answering import Answering
from maritalk_vllm.server.history import History, Step
from maritalk_vllm.server.listener import listen, local_url
from maritalk_vllm.server.state import Phase, State
from maritalk_vllm.settings import TimeUnit
from tests.counting import samples

REFUSED = ("maritalk_refused_total", (("reason", "loading"),))
LOADING = ("maritalk_server_state", (("maritalk_server_state", "loading"),))
PORT = ("maritalk_start_seconds", (("phase", "port"),))


def test_each_gate_tells_of_the_server_and_counts_for_itself() -> None:
    async def scenario() -> None:
        listener, state, history = listen("127.0.0.1", 0), State(), History()
        url = local_url(listener)
        answering = Answering(listener, Access(), state, history, TimeUnit.MILLISECONDS)

        async def told() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
            async with httpx.AsyncClient() as client:
                return samples((await client.get(f"{url}/metrics")).text)

        answering.begin()
        history.done(Step.PORT)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url}/v1/models")).status_code == 503
        first = await told()
        assert (first[REFUSED], first[LOADING], first[PORT]) == (1, 1, history.seconds["port"])
        answering.hand_over("http://127.0.0.1:9")
        state.to(Phase.READY)
        # The engine has died.
        history.begin_again()
        state.to(Phase.LOADING)
        answering.begin()
        again = await told()
        assert (again[REFUSED], again[LOADING], again["maritalk_engine_restarts_total", ()]) == (0, 1, 1)
        assert PORT not in again
        await answering.end()
        listener.close()

    asyncio.run(scenario())
