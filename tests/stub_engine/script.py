"""The actions of the stub at each stage of a start, in two files in the server's working folder."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import psutil

from maritalk_vllm.errors import UsageError

_ACTIONS, _REACHED, _FLAGS = Path("stub.json"), Path("stub.reached"), Path("stub.flags")


class Reached(NamedTuple):
    """A stage that the stub has reached: when, in seconds of the monotonic clock, and in which process."""

    stage: str
    seconds: float
    pid: int


def write(folder: Path, **actions: Sequence[str]) -> None:
    """Set the actions of the stub for the first time that it reaches a stage, the second time, and so on.

    The stages: importing, preparing, parsing, loading, warming_up, stopping. The last action of each is repeated. An
    action may be a sequence, as in `wait 1; die`. `step_limit` is no stage, but replaces step_times.MIN_SECONDS;
    neither is `room`, whose action `none` leaves no memory for a second engine.
    """
    (folder / _ACTIONS).write_text(json.dumps(actions))


def reached(folder: Path) -> list[Reached]:
    """Each stage that the stub has reached so far."""
    try:
        lines = (folder / _REACHED).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Reached(stage, float(seconds), int(pid)) for stage, seconds, pid in map(str.split, lines)]


def flags(folder: Path) -> list[str]:
    """The flags of the engine that was started last."""
    found: list[str] = json.loads((folder / _FLAGS).read_text())
    return found


def shortest_step_limit(default: float) -> float:
    """Called in the stub: the least derived --engine-timeout, in seconds, by the action `step_limit`."""
    limit = _actions("step_limit")
    return float(limit[0]) if limit else default


def available_bytes() -> int:
    """Called in the supervisor: the memory for a second engine, by the action `room`."""
    return 0 if "none" in _actions("room") else 1 << 40


def record_flags(arguments: Sequence[str]) -> None:
    """Called in the stub: record the flags that it was started with."""
    _FLAGS.write_text(json.dumps(arguments))


def reach(stage: str) -> None:
    """Called in the stub: record that it reached `stage`, and execute the actions for it."""
    with _REACHED.open("a") as file:
        file.write(f"{stage} {time.monotonic()} {os.getpid()}\n")
    times = sum(each.stage == stage for each in reached(Path()))
    if actions := _actions(stage):
        for action in actions[min(times, len(actions)) - 1].split("; "):
            _do(*action.split(maxsplit=1))


def _actions(stage: str) -> Sequence[str]:
    actions: dict[str, Sequence[str]] = json.loads(_ACTIONS.read_text()) if _ACTIONS.exists() else {}
    return actions.get(stage, ())


def _do(action: str, argument: str = "") -> None:
    match action:
        case "go":
            pass
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(int(argument))
        case "wait":
            time.sleep(float(argument))
        case "hang":
            _hang()
        case "fail":
            raise ValueError(argument)
        case "refuse":
            raise UsageError(argument)
        case "leak":
            # A new session without a parent death signal: the kernel never kills it.
            subprocess.Popen(["sleep", "600"], start_new_session=True)
        case "leave-tracker":
            # It has the name of a process that the supervisor leaves two seconds to end by itself.
            program = [sys.executable, "-c", "import time; time.sleep(600)", "multiprocessing.resource_tracker"]
            subprocess.Popen(program, start_new_session=True)
        case "kill-engine":
            for each in psutil.Process(os.getppid()).children(recursive=True):
                if "".join(each.cmdline()).startswith("VLLM::EngineCore"):
                    each.kill()
        case "cling":
            # At exit, Python waits for non-daemon child processes.
            multiprocessing.get_context("fork").Process(target=_hang).start()
        case "ignore-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _hang()
        case _:
            raise AssertionError(action)


def _hang() -> NoReturn:
    while True:
        signal.pause()
