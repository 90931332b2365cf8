"""No process outlives the one that started it."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 2
_SHARED_MEMORY = Path("/dev/shm")
_ADOPTION_SECONDS = 0.001
_libc = ctypes.CDLL(None, use_errno=True)
_parent = 0
_adopter: int | None = None


def set_parent_death_signal(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, ends in whatever way (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before the kernel knew
        os._exit(1)


def inherit_on_fork() -> None:
    """Do the same in each process that is forked below this one, libraries' own forks included."""
    os.register_at_fork(before=_remember, after_in_child=_tie)


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends, instead of the machine's init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def leave_next_to(adopter: int) -> None:
    """Have `adopter`, which adopts orphans, become the parent of what is forked next: this process has to end then.

    The fork returns in the child when that has happened, so that the child ends with `adopter` and not before.
    """
    global _adopter
    _adopter = adopter


def kill_descendants(*but: int) -> None:
    """Kill all that descends from this process, and see the last of it, `but` not these processes themselves.

    Python's resource trackers are left to end by themselves: they remove the shared memory of those that were killed.
    """
    everyone = [each for each in psutil.Process().children(recursive=True) if each.pid not in but]
    trackers = [process for process in everyone if _is_tracker(process)]
    others = [process for process in everyone if process not in trackers]
    _kill(others)
    _, slow = psutil.wait_procs([*others, *trackers], timeout=_PATIENCE_SECONDS)
    _kill(slow)
    psutil.wait_procs(slow, timeout=_PATIENCE_SECONDS)


def shared_memory_of_workers(rendezvous: Path) -> list[Path]:
    """What several workers on a CPU keep in /dev/shm, by the files in the folder where they met.

    vLLM's C++ code makes it (csrc/cpu/shm.cpp) and leaves it behind, also when it is stopped with care.
    """
    return [shared for met in rendezvous.glob("vllm_dist_*") for shared in _SHARED_MEMORY.glob(f"{met.name}-*")]


def remove(files: Iterable[Path]) -> None:
    """Whatever is still there of these files."""
    for file in files:
        file.unlink(missing_ok=True)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile, and its parent knows
            process.kill()


def _is_tracker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    return False


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _remember() -> None:
    global _parent
    _parent = os.getpid()


def _tie() -> None:
    global _adopter
    if _adopter is not None:
        adopter, _adopter = _adopter, None
        while (parent := os.getppid()) != adopter:
            if parent != _parent:  # neither is there any more
                os._exit(1)
            time.sleep(_ADOPTION_SECONDS)
        set_parent_death_signal(adopter)
    else:
        set_parent_death_signal(_parent)
