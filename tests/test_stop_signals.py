"""SIGTERM and SIGINT before and while an event loop runs."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from maritalk_vllm.stop_signals import STOP_SIGNALS, StopSignals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_early_signal_is_handled_as_soon_as_the_loop_runs_and_later_ones_at_once(number: signal.Signals) -> None:
    handled: list[signal.Signals] = []

    async def run() -> None:
        signals.handle(handled.append)
        assert handled == [number]
        signal.raise_signal(number)
        await asyncio.sleep(0.01)

    signals = StopSignals()
    signal.raise_signal(number)
    asyncio.run(run())
    assert handled == [number, number]
