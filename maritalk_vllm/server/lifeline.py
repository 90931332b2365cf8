"""No process outlives the one that started it."""

import contextlib
import ctypes
import os
import signal
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REAP_SECONDS = 2
_libc = ctypes.CDLL(None, use_errno=True)
_parent = 0


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, ends in whatever way (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before the kernel knew
        os._exit(1)


def tie_descendants() -> None:
    """Do the same in each process that is forked below this one, libraries' own forks included."""
    os.register_at_fork(before=_remember, after_in_child=_tie)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, instead of the machine's init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_group(leader: int) -> None:
    """Kill what is left of a group of processes, and see the last of it and of every orphan that was adopted."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    deadline = time.monotonic() + _REAP_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _remember() -> None:
    global _parent
    _parent = os.getpid()


def _tie() -> None:
    die_with(_parent)
