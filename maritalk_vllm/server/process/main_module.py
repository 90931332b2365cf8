"""The main module of the fork server, and of the processes that vLLM spawns below it. It imports next to nothing.

The supervisor starts the fork server as `python -m maritalk_vllm.server.process.main_module DEVICE CHANNEL PARENT`. Its
processes are forked, and so are vLLM's below them, except where CUDA is initialised, on WSL and with --numa-bind: vLLM
then has multiprocessing spawn them. A spawned process first imports the main module of its parent, which is this one.
"""

import sys

from . import process_tree

if __name__ == "__main__":
    from . import fork_server

    fork_server.start(sys.argv[1:])
elif __name__ == "__mp_main__":
    process_tree.tie_spawned_process()
