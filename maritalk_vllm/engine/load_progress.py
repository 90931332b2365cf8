"""Loading progress of vLLM, read from its log."""

import re
from pathlib import Path
from typing import NamedTuple

from ..i18n.message import msg

_TAIL_BYTES = 4096
# Messages of vLLM 0.32 and 0.33. If a version changes one, the previous step is shown for longer. transformers writes
# "Writing model shards" as it saves the demo model: that is no loading.
_STEPS = re.compile(
    rb"(?P<weights>[Ll]oading [\w -]*shards:[^\r\n]*? (?P<done>\d+)/(?P<all>\d+) \[)"
    rb"|(?P<compiling>Dynamo bytecode transform|Compiling a graph)"
    rb"|(?P<capturing>Capturing CUDA graph)"
)


class LoadingStep(NamedTuple):
    """A step of loading, such as `Loading weights 3/12`, and the completed fraction of it if known."""

    text: str
    fraction: float | None = None


def read_loading_step(log: Path, begin: int) -> LoadingStep | None:
    """Return the latest step at the end of the log, or None. Bytes before offset `begin` are ignored."""
    try:
        if not log.is_file():  # a device or a pipe may be endless, or not readable by us
            return None
        with log.open("rb") as file:
            size = log.stat().st_size
            # A file shorter than `begin` was rotated, so all of it is new.
            file.seek(max(begin if begin <= size else 0, size - _TAIL_BYTES))
            found = list(_STEPS.finditer(file.read(_TAIL_BYTES)))
    except OSError:
        return None
    if not found:
        return None
    last = found[-1]
    if last["weights"]:
        done, total = int(last["done"]), int(last["all"])
        return LoadingStep(
            msg("Loading weights {done}/{total}", done=done, total=total), done / total if total else None
        )
    return LoadingStep("Compiling" if last["compiling"] else "Capturing CUDA graphs")


def log_size(log: Path) -> int:
    """Current size of the log in bytes; 0 if it does not exist."""
    return log.stat().st_size if log.exists() else 0
