"""Memory and CPU time of processes, from /proc and the kernel's clocks."""

import re
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import psutil

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_LINE = re.compile(r"^(Rss|Pss|Pss_Anon):\s+(\d+) kB", re.MULTILINE)

_CPUCLOCK_SCHED = 2
"""The kind of a CPU clock that counts the scheduler's nanoseconds: include/linux/posix-timers.h of the kernel."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `rss` counts a shared page in each process, `pss` and `anonymous` count it once in total.

    `anonymous` is memory that no file backs.
    """

    rss: int
    pss: int
    anonymous: int

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss, self.anonymous + other.anonymous)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process and its memory, in bytes; `peak` is its maximum resident set."""

    title: str
    rss: int
    pss: int
    anonymous: int
    peak: int


def processes(pid: int) -> list[Process]:
    """A process and its descendants, with their titles and memory."""
    found = []
    for each in process_tree(pid):
        used = memory(each.pid)
        peak = _PEAK.search(Path(f"/proc/{each.pid}/status").read_text())
        found.append(
            Process(
                title=process_title(each.cmdline() or [each.name()]),
                rss=used.rss,
                pss=used.pss,
                anonymous=used.anonymous,
                peak=int(peak[1]) * 1024 if peak else 0,
            )
        )
    return found


def process_title(command: list[str]) -> str:
    """A title of at most 60 characters: the name of the program, and its arguments up to the first path or URL."""
    # A process that sets its title has a command of one word.
    program, *arguments = " ".join(command).split()
    return " ".join([Path(program).name, *takewhile(lambda argument: "/" not in argument, arguments)])[:60].rstrip()


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and its descendants; empty once it has exited."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def pause(pid: int) -> None:
    """Suspend a process and its descendants until `resume`: an idle server still uses some CPU."""
    for each in process_tree(pid):
        each.suspend()


def resume(pid: int) -> None:
    """Resume a process and its descendants."""
    for each in process_tree(pid):
        each.resume()


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """User and system time of a target's API process and of its other processes, in seconds."""

    api: float
    others: float

    def __sub__(self, before: "CpuTimes") -> "CpuTimes":
        return CpuTimes(self.api - before.api, self.others - before.others)


def cpu_times(pid: int, api_pid: int) -> CpuTimes:
    """CPU time so far of a process and its descendants. Raises psutil.NoSuchProcess if one exits meanwhile."""
    seconds = {each.pid: cpu_seconds(each.pid) for each in process_tree(pid)}
    return CpuTimes(seconds[api_pid], sum(seconds.values()) - seconds[api_pid])


def cpu_seconds(pid: int) -> float:
    """CPU time so far of one process, its threads that have ended included. Raises psutil.NoSuchProcess.

    It is that of the process's clock, in nanoseconds: /proc/PID/stat counts in units of 10 ms. Of a thread that is
    running, it lacks the time since the last tick of its core, 10 ms at most.
    """
    try:
        # The id that clock_getcpuclockid(3) returns for a process.
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error


@dataclass(frozen=True, slots=True)
class MachineTimes:
    """Seconds of all cores together: used by any program, kept back by the host, and passed in all.

    The kernel's resolution is 10 ms.
    """

    busy: float
    steal: float
    total: float

    def __sub__(self, before: "MachineTimes") -> "MachineTimes":
        return MachineTimes(self.busy - before.busy, self.steal - before.steal, self.total - before.total)


def machine_times() -> MachineTimes:
    """CPU time of the machine so far."""
    times = psutil.cpu_times()
    # The kernel counts a guest's time as user time as well.
    used = times.user + times.nice + times.system + times.irq + times.softirq
    return MachineTimes(used, times.steal, used + times.steal + times.idle + times.iowait)


def memory(pid: int) -> Memory:
    """Current memory of one process; zeros once it has exited."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Memory(0, 0, 0)
    kilobytes = dict(_LINE.findall(text))
    return Memory(*(int(kilobytes.get(name, 0)) * 1024 for name in ("Rss", "Pss", "Pss_Anon")))


def process_tree_memory(pid: int) -> Memory:
    """Memory of a process and its descendants."""
    return sum((memory(each.pid) for each in process_tree(pid)), Memory(0, 0, 0))


def by_title(pid: int, title: str) -> int:
    """Pid of the descendant whose command line starts with `title`. Raises LookupError."""
    for each in process_tree(pid):
        if " ".join(each.cmdline()).startswith(title):
            return int(each.pid)
    raise LookupError(f"{pid} has no descendant {title}")
