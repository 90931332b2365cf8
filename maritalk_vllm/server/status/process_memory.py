"""How much memory each of the server's processes has, read from /proc: no look at all of the machine's processes."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TITLES = {
    "maritalk-serve": "supervisor",
    "maritalk: nursery": "nursery",
    "maritalk: serve": "api",
    "VLLM::": "engine",
}
"""How the titles of the processes begin, ours and vLLM's."""


def resident_bytes(root: int) -> dict[str, int]:
    """By the kind of process, for `root` and what descends from it. What processes share counts in each of them."""
    found: Counter[str] = Counter()
    for pid in _family(root):
        try:
            title = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
            pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        except OSError:  # it has ended meanwhile
            continue
        kind = next((kind for start, kind in _TITLES.items() if title.startswith(start)), "other")
        found[kind] += pages * _PAGE_BYTES
    return dict(found)


def _family(root: int) -> Iterator[int]:
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        # A process belongs to the thread that has forked it.
        for children in (PROC / str(pid) / "task").glob("*/children"):
            try:
                waiting += map(int, children.read_text().split())
            except OSError:
                continue
