"""What processes use, by the kernel's account."""

import re
from dataclasses import dataclass
from pathlib import Path

import psutil

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_LINE = re.compile(r"^(Rss|Pss|Pss_Anon):\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: `rss` counts a page for each process that shares it, `pss` once in all, and so does `anonymous`.

    The last has no file behind it.
    """

    rss: int
    pss: int
    anonymous: int

    def __add__(self, other: "Memory") -> "Memory":
        return Memory(self.rss + other.rss, self.pss + other.pss, self.anonymous + other.anonymous)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process and its memory, in bytes; `peak` is the most that it had resident."""

    title: str
    rss: int
    pss: int
    anonymous: int
    peak: int


def processes(pid: int) -> list[Process]:
    """A process and all that descend from it, by what they call themselves."""
    found = []
    for each in family(pid):
        used = memory(each.pid)
        program, *arguments = each.cmdline() or [each.name()]
        peak = _PEAK.search(Path(f"/proc/{each.pid}/status").read_text())
        found.append(
            Process(
                title=" ".join([Path(program).name, *arguments])[:60].rstrip(),
                rss=used.rss,
                pss=used.pss,
                anonymous=used.anonymous,
                peak=int(peak[1]) * 1024 if peak else 0,
            )
        )
    return found


def family(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def pause(pid: int) -> None:
    """Stop a process and all that descend from it, until `resume`: idle servers are not always idle."""
    for each in family(pid):
        each.suspend()


def resume(pid: int) -> None:
    """Let them go on."""
    for each in family(pid):
        each.resume()


def cpu_seconds(pid: int) -> float:
    """What one process has used, in user and system mode; 10 ms is the kernel's grain."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory(pid: int) -> Memory:
    """What one process has now; nothing once it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Memory(0, 0, 0)
    kilobytes = dict(_LINE.findall(text))
    return Memory(*(int(kilobytes.get(name, 0)) * 1024 for name in ("Rss", "Pss", "Pss_Anon")))


def memory_of_family(pid: int) -> Memory:
    """Of a process and all that descend from it."""
    return sum((memory(each.pid) for each in family(pid)), Memory(0, 0, 0))


def by_title(pid: int, title: str) -> int:
    """The one descendant whose command line begins so. Raises LookupError."""
    for each in family(pid):
        if " ".join(each.cmdline()).startswith(title):
            return int(each.pid)
    raise LookupError(f"{pid} has no descendant {title}")
