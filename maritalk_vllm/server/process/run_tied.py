"""Runs another program that ends with the process that starts it: `run_tied PARENT COMMAND...`.

The program's process asks for that itself before the program begins: code between fork and exec (`preexec_fn`) is not
safe in a process with threads.
"""

import os
import sys

from . import process_tree

if __name__ == "__main__":
    process_tree.set_parent_death_signal(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
