"""A process that forks one, which spawns one, which spawns another: `python -m tests.server.process.spawner`.

Each prints its pid and waits. The first is the fork server, the second the API process, and the others are those of a
vLLM that spawns its processes.
"""

import multiprocessing
import os
import signal

from maritalk_vllm.server.process import process_tree


def start(generations: int) -> None:
    """Print this process's pid, spawn a process with one generation less, and wait."""
    print(os.getpid(), flush=True)
    if generations:
        multiprocessing.get_context("spawn").Process(target=start, args=(generations - 1,)).start()
    signal.pause()


if __name__ == "__main__":
    process_tree.inherit_on_fork()
    print(os.getpid(), flush=True)
    multiprocessing.get_context("fork").Process(target=start, args=(2,)).start()
    signal.pause()
elif __name__ == "__mp_main__":
    process_tree.tie_spawned_process()
