"""Resident memory of the server's processes, read from /proc for these processes alone."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_KINDS_BY_TITLE = {
    "maritalk-serve": "supervisor",
    "maritalk: nursery": "nursery",
    "maritalk: serve": "api",
    "maritalk: run": "engine",
    "VLLM::": "engine",
}
"""Prefixes of the process titles, ours and vLLM's, and the label of each kind."""


def resident_bytes(root: int) -> dict[str, int]:
    """Return resident bytes by kind of process, for `root` and its descendants. Shared pages count in each process."""
    total: Counter[str] = Counter()
    for pid in _process_tree(root):
        try:
            title = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
            pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        except OSError:  # the process has exited meanwhile
            continue
        kind = next((kind for prefix, kind in _KINDS_BY_TITLE.items() if title.startswith(prefix)), "other")
        total[kind] += pages * _PAGE_BYTES
    return dict(total)


def _process_tree(root: int) -> Iterator[int]:
    pending = [root]
    while pending:
        pid = pending.pop()
        yield pid
        # The kernel lists a child under the thread that forked it.
        for children in (PROC / str(pid) / "task").glob("*/children"):
            try:
                pending += map(int, children.read_text().split())
            except OSError:
                continue
