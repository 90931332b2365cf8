"""Memory and a lock that real processes share."""

import multiprocessing
import os
import signal
import time
from contextlib import closing

import pytest

from maritalk_vllm.server.messaging.shared_memory import SharedMemory

_fork = multiprocessing.get_context("fork")
TIMES = 2000


def add_up(memory: SharedMemory) -> None:
    """Count in a way that loses counts without the lock."""
    numbers = memory.view.cast("q")
    for _ in range(TIMES):
        with memory.exclusive():
            seen = numbers[0]
            if seen % 100 == 0:
                time.sleep(0)
            numbers[0] = seen + 1


def hold(memory: SharedMemory) -> None:
    """Hold the lock until this process is killed."""
    with memory.exclusive():
        memory.view[0] = 1
        while True:
            signal.pause()


def test_no_count_of_several_processes_is_lost() -> None:
    with closing(SharedMemory.create(64)) as memory:
        processes = [_fork.Process(target=add_up, args=(memory,)) for _ in range(3)]
        for each in processes:
            each.start()
        for each in processes:
            each.join()
        assert memory.view.cast("q")[0] == 3 * TIMES


def test_another_process_maps_the_memory_by_its_descriptor() -> None:
    with closing(SharedMemory.create(64)) as memory, closing(SharedMemory(os.dup(memory.fileno()), 64)) as other:
        memory.view[5] = 9
        assert other.view[5] == 9


def test_the_lock_of_a_process_that_is_killed_is_free() -> None:
    with closing(SharedMemory.create(64)) as memory:
        holder = _fork.Process(target=hold, args=(memory,))
        holder.start()
        while not memory.view[0]:
            time.sleep(0.01)
        with pytest.raises(TimeoutError), memory.exclusive(0.05):
            pass
        holder.kill()
        holder.join()
        with memory.exclusive(0.05):
            pass
