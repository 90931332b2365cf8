"""How far vLLM is with loading, by its own log."""

import re
from pathlib import Path
from typing import NamedTuple

_TAIL_BYTES = 4096
# Of vLLM 0.32 and 0.33; where one changes its words the step before is shown for longer.
_STEPS = re.compile(
    rb"(?P<weights>shards:.*?(?P<done>\d+)/(?P<all>\d+) \[)"
    rb"|(?P<compiling>Dynamo bytecode transform|Compiling a graph)"
    rb"|(?P<capturing>Capturing CUDA graph)"
)


class LoadingStep(NamedTuple):
    """What loading is at, such as `Loading weights 3/12`, and the fraction of it that is done, if that is known."""

    text: str
    fraction: float | None = None


def loading_step(log: Path, begin: int) -> LoadingStep | None:
    """The latest step that the end of the log shows, from the byte `begin` on."""
    try:
        if not log.is_file():  # such as a device or a pipe, which may have no end, or none to be read by us
            return None
        with log.open("rb") as file:
            size = log.stat().st_size
            # One that has become shorter was rotated: all of it is new.
            file.seek(max(begin if begin <= size else 0, size - _TAIL_BYTES))
            found = list(_STEPS.finditer(file.read(_TAIL_BYTES)))
    except OSError:
        return None
    if not found:
        return None
    last = found[-1]
    if last["weights"]:
        done, total = int(last["done"]), int(last["all"])
        return LoadingStep(f"Loading weights {done}/{total}", done / total if total else None)
    return LoadingStep("Compiling" if last["compiling"] else "Capturing CUDA graphs")


def log_size(log: Path) -> int:
    """Where the log ends for now, in bytes."""
    return log.stat().st_size if log.exists() else 0
