"""Resident memory of the server's processes."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from maritalk_vllm.server.status import process_memory
from maritalk_vllm.server.status.process_memory import resident_bytes


def test_memory_includes_child_processes() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    process.start()
    try:
        pages = int((process_memory.PROC / "self" / "statm").read_text().split()[1])
        alone = pages * os.sysconf("SC_PAGE_SIZE")
        deadline = time.monotonic() + 10
        # A bare interpreter has more than 5 MB.
        while sum(resident_bytes(os.getpid()).values()) < alone + 5_000_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.join()
    assert resident_bytes(process.pid or 0) == {}


def test_memory_is_grouped_by_process_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a fake /proc, with the titles that the server's processes set."""
    titles = {
        1: "maritalk-serve http://localhost:9000",
        2: "maritalk: nursery",
        3: "maritalk: serve",
        4: "VLLM::EngineCore",
        5: "VLLM::Worker_TP0",
        6: "python",
    }
    for pid, title in titles.items():
        task = tmp_path / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (tmp_path / str(pid) / "cmdline").write_text(title + "\0")
        (tmp_path / str(pid) / "statm").write_text(f"99 {pid} 1 1 0 1 0\n")
        (task / "children").write_text({1: "2 6 ", 2: "3 ", 3: "4 77 ", 4: "5 "}.get(pid, ""))
    monkeypatch.setattr(process_memory, "PROC", tmp_path)
    page = os.sysconf("SC_PAGE_SIZE")
    kinds = {"supervisor": 1, "nursery": 2, "api": 3, "engine": 9, "other": 6}
    assert resident_bytes(1) == {kind: pages * page for kind, pages in kinds.items()}
