"""How far vLLM is with loading, by its own log."""

import re
from pathlib import Path

_TAIL_BYTES = 4096
# Of vLLM 0.32 and 0.33; where one changes its words the step before is shown for longer.
_STEPS = re.compile(
    rb"(?P<weights>shards:.*?(?P<done>\d+)/(?P<all>\d+) \[)"
    rb"|(?P<compiling>Dynamo bytecode transform|Compiling a graph)"
    rb"|(?P<capturing>Capturing CUDA graph)"
)


def loading_step(log: Path, begin: int) -> str | None:
    """The latest step that the end of the log shows, from the byte `begin` on, such as `Loading weights 3/12`."""
    try:
        with log.open("rb") as file:
            file.seek(max(begin, log.stat().st_size - _TAIL_BYTES))
            found = list(_STEPS.finditer(file.read()))
    except OSError:
        return None
    if not found:
        return None
    last = found[-1]
    if last["weights"]:
        return f"Loading weights {last['done'].decode()}/{last['all'].decode()}"
    return "Compiling" if last["compiling"] else "Capturing CUDA graphs"


def log_size(log: Path) -> int:
    """Where the log ends for now, in bytes."""
    return log.stat().st_size if log.exists() else 0
