"""The size up to which vLLM fuses an all-reduce with the following norm, passed as a flag.

If it is not given, vLLM imports flashinfer.comm for this one number while it makes its configuration. On a host with a
CUDA toolkit that import initialises CUDA in the API process, and vLLM then spawns its processes instead of forking
them: each imports torch and vllm again (vLLM's pull request #56239).
"""

import ast
import functools
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..hardware.gpu import Gpu

_SOURCE = "compilation/passes/fusion/allreduce_rms_fusion.py"
_TABLE = "FI_ALLREDUCE_FUSION_MAX_SIZE_MB"
_FLAGS = ("--compilation-config", "-cc")
_GROUP, _KEY = "pass_config", "fi_allreduce_fusion_max_size_mb"


def fusion_size_mb(gpus: Sequence[Gpu], tensor_parallel_size: int) -> float | None:
    """The installed vLLM's own size in MiB for these GPUs; None if it fuses nothing on them."""
    if tensor_parallel_size == 1 or not gpus:
        return None
    major, minor = gpus[0].compute_capability
    return _sizes().get(10 * major + minor, {}).get(tensor_parallel_size)


def with_fusion_size(arguments: Sequence[str], size_mb: float) -> list[str]:
    """Return the user's flags with the size added to their --compilation-config. A size that is in it remains."""
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    if "--config" in names:  # the file's value would be lost: flags precede it
        return list(arguments)
    keys = dict.fromkeys(match[1] for name in names if (match := re.match(r"(--compilation-config|-cc)\.", name)))
    if keys:  # vLLM makes one value of the flags for single keys, and ignores a whole value beside them
        return [*(f"{flag}.{_GROUP}.{_KEY}={size_mb}" for flag in keys), *arguments]
    found = False
    result = []
    for index, (name, argument) in enumerate(zip(names, arguments, strict=True)):
        if name in _FLAGS and "=" in argument:
            found, argument = True, f"{name}={_merged(argument.partition('=')[2], size_mb)}"
        elif index and names[index - 1] in _FLAGS and "=" not in arguments[index - 1]:
            found, argument = True, _merged(argument, size_mb)
        result.append(argument)
    return result if found else ["--compilation-config", _merged("{}", size_mb), *result]


def _merged(value: str, size_mb: float) -> str:
    """The JSON object `value` with the size added; vLLM rejects what is no object."""
    try:
        config: Any = json.loads(value)
    except ValueError:
        return value
    if not isinstance(config, dict) or not isinstance(passes := config.get(_GROUP) or {}, dict):
        return value
    return json.dumps({**config, _GROUP: {_KEY: size_mb, **passes}})


@functools.cache
def _sizes() -> Mapping[int, Mapping[int, float]]:
    """vLLM's table: MiB by compute capability (90 is 9.0) and tensor parallel size. Read, because an import is slow.

    Empty if the source has an unexpected layout: vLLM then looks the number up itself.
    """
    spec = importlib.util.find_spec("vllm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / _SOURCE
        for node in ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == _TABLE:
                table: Mapping[int, Mapping[int, float]] = ast.literal_eval(node.value) if node.value else {}
                return table
    return {}
