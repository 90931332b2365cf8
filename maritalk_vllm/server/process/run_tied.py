"""Executes a program that is killed when its parent exits: `run_tied PARENT COMMAND...`.

The parent-death signal is set here, before exec: code between fork and exec (`preexec_fn`) is not safe in a process
with threads.
"""

import os
import sys

from . import process_tree

if __name__ == "__main__":
    process_tree.set_parent_death_signal(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
