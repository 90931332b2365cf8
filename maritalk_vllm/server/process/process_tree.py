"""Ties each process to its parent, so that none outlives the process that started it."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_EXIT_SECONDS = 2
_SHARED_MEMORY = Path("/dev/shm")
_ADOPTION_SECONDS = 0.001
_PARENT = "MARITALK_PARENT_PID"
"""Environment variable with the pid of the process that set it, for the processes that multiprocessing spawns there."""
_libc = ctypes.CDLL(None, use_errno=True)
_parent = 0
_adopter: int | None = None


def set_parent_death_signal(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which started it, exits for any reason (prctl(2)).

    What counts is the thread of `parent` that started it: processes are started by main threads, which exit last.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it exited before the call
        os._exit(1)


def inherit_on_fork() -> None:
    """Call `set_parent_death_signal` in each process that is forked below this one, including forks by libraries.

    Hooks of a fork do not run in a process that multiprocessing spawns: it has to call `tie_spawned_process`.
    """
    os.register_at_fork(before=_record_pid, after_in_child=_tie_to_parent)


def tie_spawned_process() -> None:
    """Tie this process, which multiprocessing spawned, to its parent, and tie to it what it starts itself.

    multiprocessing does not know the parent's pid this early, and getppid() is another one if the parent has exited.
    """
    set_parent_death_signal(int(os.environ[_PARENT]))
    os.environ[_PARENT] = str(os.getpid())
    inherit_on_fork()


def become_subreaper() -> None:
    """Become the parent of every orphaned descendant, instead of the machine's init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reparent_next_fork(adopter: int) -> None:
    """Make `adopter`, a subreaper, the parent of the next forked process. The caller must exit after that fork.

    In the child, the fork returns once it has been adopted, so that the child is tied to `adopter`.
    """
    global _adopter
    _adopter = adopter


def kill_descendants(*exclude: int, spared_sessions: Collection[int] = ()) -> None:
    """Kill all descendants except the pids `exclude`, whose children are killed too, and wait for them to exit.

    All processes of `spared_sessions` live on, with those below them.
    """
    descendants = psutil.Process().children(recursive=True)
    spared = {*exclude, *(each.pid for each in _of_sessions(descendants, spared_sessions))}
    _kill_and_wait([each for each in descendants if each.pid not in spared])


def kill_session(rendezvous: Path, session: int) -> None:
    """Kill the descendants in `session`, with those below them, and remove the shared memory of their CPU workers.

    A fork server begins a session with its own pid, to which belongs what it forks, also after its end.
    """
    shared_memory = shared_memory_of_workers(rendezvous)
    _kill_and_wait(_of_sessions(psutil.Process().children(recursive=True), (session,)))
    remove_files(shared_memory)


def _of_sessions(descendants: Iterable[psutil.Process], sessions: Collection[int]) -> list[psutil.Process]:
    """Those of the `descendants` in these sessions, and below them, as some begin a session of their own."""
    parents = {each: _parent_of(each) for each in descendants}
    found = {each.pid for each in parents if _session_of(each) in sessions}
    while further := {each.pid for each, parent in parents.items() if parent in found} - found:
        found |= further
    return [each for each in parents if each.pid in found]


def _session_of(process: psutil.Process) -> int | None:
    with contextlib.suppress(OSError):  # it has exited meanwhile
        return os.getsid(process.pid)
    return None


def _parent_of(process: psutil.Process) -> int | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.ppid()
    return None


def _kill_and_wait(descendants: Collection[psutil.Process]) -> None:
    """Kill these processes, and wait for them to exit.

    Python's resource trackers are left to exit by themselves: they remove the shared memory of the killed processes.
    """
    trackers = [process for process in descendants if _is_tracker(process)]
    others = [process for process in descendants if process not in trackers]
    _kill(others)
    _, slow = psutil.wait_procs([*others, *trackers], timeout=_EXIT_SECONDS)
    _kill(slow)
    psutil.wait_procs(slow, timeout=_EXIT_SECONDS)


def kill_engine(rendezvous: Path, *exclude: int, spared_sessions: Collection[int] = ()) -> None:
    """Kill descendants as `kill_descendants`, and remove the shared memory of their CPU workers."""
    shared_memory = shared_memory_of_workers(rendezvous)
    kill_descendants(*exclude, spared_sessions=spared_sessions)
    remove_files(shared_memory)


def shared_memory_of_workers(rendezvous: Path) -> list[Path]:
    """The files in /dev/shm of CPU workers, by the names of their rendezvous files in the folder `rendezvous`.

    vLLM's C++ code makes them (csrc/cpu/shm.cpp) and leaves them behind, even after a graceful stop.
    """
    return [shared for file in rendezvous.glob("vllm_dist_*") for shared in _SHARED_MEMORY.glob(f"{file.name}-*")]


def remove_files(files: Iterable[Path]) -> None:
    """Remove those of these files that exist."""
    for file in files:
        file.unlink(missing_ok=True)


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has exited meanwhile
            process.kill()


def _is_tracker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # it has exited meanwhile, or is another user's
        return any("multiprocessing.resource_tracker" in argument for argument in process.cmdline())
    return False


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _record_pid() -> None:
    global _parent
    _parent = os.getpid()


def _tie_to_parent() -> None:
    global _adopter
    if _adopter is not None:
        adopter, _adopter = _adopter, None
        while (parent := os.getppid()) != adopter:
            if parent != _parent:  # the adopter has exited as well
                os._exit(1)
            time.sleep(_ADOPTION_SECONDS)
        set_parent_death_signal(adopter)
    else:
        set_parent_death_signal(_parent)
    os.environ[_PARENT] = str(os.getpid())
