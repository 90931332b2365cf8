"""What a test tells the stub to do at each moment of a start: two files in the folder that the server runs in."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from maritalk_vllm.errors import UsageError

_ACTIONS, _REACHED = Path("stub.json"), Path("stub.reached")


class Reached(NamedTuple):
    """A moment that the stub has come to, when by the machine's monotonic clock, and in which process."""

    moment: str
    seconds: float
    pid: int


def write(folder: Path, **actions: Sequence[str]) -> None:
    """Tell the stub what to do the first time that it comes to a moment, the second time, and so on.

    The moments: importing, preparing, parsing, loading, warming_up, stopping. The last action of each is repeated; one
    may be several, as in `wait 1; die`.
    """
    (folder / _ACTIONS).write_text(json.dumps(actions))


def reached(folder: Path) -> list[Reached]:
    """Every moment that the stub has come to so far."""
    try:
        lines = (folder / _REACHED).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [Reached(moment, float(seconds), int(pid)) for moment, seconds, pid in map(str.split, lines)]


def reach(moment: str) -> None:
    """In the stub: note the moment, and do what is written for it."""
    with _REACHED.open("a") as file:
        file.write(f"{moment} {time.monotonic()} {os.getpid()}\n")
    times = sum(each.moment == moment for each in reached(Path()))
    actions = json.loads(_ACTIONS.read_text()).get(moment) if _ACTIONS.exists() else None
    if actions:
        for action in actions[min(times, len(actions)) - 1].split("; "):
            _do(*action.split(maxsplit=1))


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
            # Neither tied to its parent nor in its session: the kernel ends it for nobody.
            subprocess.Popen(["sleep", "600"], start_new_session=True)
        case "kill-engine":
            for child in multiprocessing.active_children():
                child.kill()
                child.join()
        case "cling":
            # Python ends no process before its own children that are no daemons.
            multiprocessing.get_context("fork").Process(target=_hang).start()
        case "ignore-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            _hang()
        case _:
            raise AssertionError(action)


def _hang() -> NoReturn:
    while True:
        signal.pause()
