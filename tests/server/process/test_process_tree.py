"""No process outlives its parent, however it was started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from maritalk_vllm.server.process.process_tree import kill_session
from tests.server.test_stop import ENGINE
from tests.serving import READY_SECONDS, Server, note, until
from tests.stub_engine.server import ROOT

ORPHAN_SECONDS = 5


@pytest.mark.parametrize("killed", [0, 1, 2], ids=["forking", "forked", "spawned"])
def test_processes_below_a_killed_one_are_killed(killed: int, tmp_path: Path) -> None:
    """The two that multiprocessing spawns are tied to their parents as the one that is forked."""
    command = [sys.executable, "-m", "tests.server.process.spawner"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(4)]
        os.kill(pids[killed], signal.SIGKILL)
        below = pids[killed + 1 :]
        until(lambda: not any(is_running(pid) for pid in below), "the processes below it killed", ORPHAN_SECONDS)
        assert all(is_running(pid) for pid in pids[:killed])
        process.kill()


def test_the_processes_of_one_session_are_killed(tmp_path: Path) -> None:
    """With those below them, in whichever session."""
    program = "import subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    leaders = [subprocess.Popen([sys.executable, "-c", program], start_new_session=True) for _ in range(2)]
    try:
        until(lambda: all(psutil.Process(each.pid).children() for each in leaders), "a process below each")
        pids = [pid for each in leaders for pid in (each.pid, psutil.Process(each.pid).children()[0].pid)]
        kill_session(tmp_path, leaders[0].pid)
        assert list(map(is_running, pids)) == [False, False, True, True]
    finally:
        for each in leaders:
            kill_session(tmp_path, each.pid)
            each.wait()


def is_running(pid: int) -> bool:
    """False for a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_ends_with_its_supervisor(server: Server) -> None:
    """Kill the supervisor with SIGKILL: all processes below it end."""
    server.process.kill()
    server.process.wait()
    try:
        until(lambda: not server.processes(), "all processes gone", ORPHAN_SECONDS)
    finally:
        note(f"processes left after SIGKILL of the supervisor: {sorted(server.processes().values())}")
        for pid in server.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.mark.engine
@pytest.mark.nightly  # by day: the same ties without vLLM, above
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("Loading the model", id="loading"),
        pytest.param("Listening on http://", id="serving"),
    ],
)
def test_no_process_of_vllm_outlives_a_killed_supervisor(
    moment: str, tmp_path: Path, prepared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its engines and their coordinator, spawned as on a host where CUDA is initialised before they start."""
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--replicas", "2", "--max-model-len", "512")
    try:
        server.wait_for(moment)
        spawned = "multiprocessing.spawn"  # until vLLM sets the title
        until(
            lambda: any(spawned in line or line.startswith(ENGINE) for line in server.processes().values()),
            "a spawned process",
            READY_SECONDS,
        )
        assert_ends_with_its_supervisor(server)
    finally:
        server.stop()
