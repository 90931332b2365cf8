"""The memory of a dead engine's GPUs: the next start waits for it."""

import asyncio
import time
from dataclasses import replace
from threading import Timer

import pytest

from maritalk_vllm.server.process import gpu_memory
from maritalk_vllm.server.process.gpu_memory import occupied_gpus, wait_until_free
from tests.planning.machines import GB, gpu_plan, hypothetical_machine, open_need

MACHINE = hypothetical_machine("2xA10,1xL4")
PLAN = gpu_plan(open_need(16), hypothetical_machine("2xA10"))


def test_vllm_has_to_find_the_share_that_it_is_given() -> None:
    plan = replace(PLAN, gpus=MACHINE.gpus[:2], gpu_memory_utilization=0.9)
    total = MACHINE.gpus[0].memory_total_bytes
    full, enough = (replace(MACHINE.gpus[0], memory_free_bytes=int(share * total)) for share in (0.89, 0.91))
    assert occupied_gpus(plan, [full, MACHINE.gpus[1]]) == (MACHINE.gpus[0],)
    assert occupied_gpus(plan, [enough, MACHINE.gpus[1]]) == ()
    # One that another process uses exclusively is not among the usable ones.
    assert occupied_gpus(plan, [enough]) == (MACHINE.gpus[1],)
    # Other GPUs, those that share the host's memory, and what NVML does not tell are not waited for.
    assert occupied_gpus(plan, [*MACHINE.gpus[:2], replace(MACHINE.gpus[2], memory_free_bytes=0)]) == ()
    assert occupied_gpus(plan, None) == ()
    integrated = replace(plan, gpus=(replace(MACHINE.gpus[0], is_integrated=True),))
    assert occupied_gpus(integrated, [full]) == ()


def wait(seconds: float = 10) -> tuple[bool, int, float]:
    """Whether the memory became free, how often a wait was shown, and the seconds that it took."""
    shown: list[None] = []
    plan = replace(PLAN, gpus=MACHINE.gpus[:2], gpu_memory_utilization=0.9)
    began = time.monotonic()
    waiting = wait_until_free(plan, lambda: shown.append(None), seconds)
    is_free = asyncio.run(asyncio.wait_for(waiting, 15))
    return is_free, len(shown), time.monotonic() - began


def test_a_start_waits_until_the_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "_POLL_SECONDS", 0.02)
    gpus = {"now": tuple(replace(gpu, memory_free_bytes=GB) for gpu in MACHINE.gpus)}
    monkeypatch.setattr(gpu_memory, "usable_gpus", lambda: gpus["now"])
    releasing = Timer(0.2, lambda: gpus.update(now=MACHINE.gpus))
    releasing.start()
    is_free, shown, seconds = wait()
    assert (is_free, shown) == (True, 1)
    assert 0.1 < seconds < 5
    releasing.join()
    assert wait()[:2] == (True, 0)


def test_the_wait_is_bounded_even_if_the_driver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "usable_gpus", lambda: ())
    assert wait(0.1)[:2] == (False, 1)
    monkeypatch.setattr(gpu_memory, "usable_gpus", lambda: time.sleep(2))
    is_free, shown, seconds = wait(0.1)
    assert (is_free, shown) == (False, 0)
    assert seconds < 1.5


def test_without_gpus_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_memory, "query_nvml", lambda: pytest.fail("asked"))
    assert asyncio.run(wait_until_free(replace(PLAN, gpus=()), lambda: None))
