"""Catalogue of GPU models (configs/gpus.yaml), to plan a model for GPUs that this machine does not have."""

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .. import config_files
from ..errors import UsageError
from ..i18n.message import msg
from .gpu import Gpu
from .interconnect import Link
from .inventory import Inventory

_IDLE_BYTES = 512 << 20
"""Memory that the driver reserves on an idle GPU: 440 to 640 MiB (nvidia-smi -q, "Reserved"), the same for all."""

_SYSTEM_BYTES = 4 << 30
"""Memory that an idle Linux takes of the memory it shares with an integrated GPU: an estimate."""

_NODES = re.compile(r"\s*(\d+)\s+nodes?\s+of\s+(.+)", re.IGNORECASE)
_OTHER_MAKERS = re.compile(
    r"amd|radeon|instinct|firepro|vega|gfx\d|mi\d{1,3}[a-z]?$|rx\d{3,4}|w[5-7][5-9]00|strix|ryzen|hygon|dcu"  # AMD
    r"|intel|arc|gaudi|flex\d|ponte|max1[15]\d0|xe|[ab]([357][1578]0|[56]0m?)$|prob[56]0"  # Intel
    r"|tpu|trainium|trn\d|inferentia|inf\d|apple|m[1-5](pro|max|ultra)?$|ascend|910[abc]|mtt|mlu|kunlun|tenstorrent"
)
"""Prefixes of normalized names of other makers' products; no NVIDIA name starts with one."""

_MAX_RESERVED = 0.07
"""Share of a GPU's nominal memory, in GiB, that NVML may leave out of its total: 6.3% on an L4."""

_SIMILARITY_CUTOFF = 0.8
_MAX_NODES, _MAX_GPUS, _MAX_DIGITS = 10_000, 10_000, 9
_MAX_NAME_LENGTH = 60
MAX_GPUS_PER_MACHINE = 72
"""Most GPUs of one machine that are planned for: the size of the largest NVLink domain (NVL72)."""

_GPU_COUNT = re.compile(r"\s*(?:(\d+)\s*[xX*×]\s*)?(.+?)\s*")


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A GPU model. The first of `names` is the one that NVML reports. Memory is in bytes.

    `cloud` says whether clouds rent it out, `integrated` whether it uses the host's memory. `bandwidth`, in bytes per
    second, and `flops`, dense in 16 bits, are those of the data sheet; None where there is none.
    """

    names: tuple[str, ...]
    memory_total_bytes: int
    compute_capability: tuple[int, int]
    link: Link
    cloud: bool
    bandwidth: float | None = None
    flops: float | None = None
    integrated: bool = False

    @property
    def short_name(self) -> str:
        """The common name, such as `A100-40GB`."""
        return self.names[1]


@cache
def gpu_models() -> tuple[GpuModel, ...]:
    """All models of configs/gpus.yaml."""
    return tuple(
        GpuModel(
            names=tuple(row["names"]),
            memory_total_bytes=row["memory_mib"] << 20,
            compute_capability=tuple(row["compute_capability"]),
            link=Link.NVLINK if row["link"] == "nvlink" else Link.NODE,
            cloud=row.get("cloud", False),
            bandwidth=row["gb_s"] * 1e9 if "gb_s" in row else None,
            flops=row["tflops"] * 1e12 if "tflops" in row else None,
            integrated=row.get("integrated", False),
        )
        for row in config_files.read("gpus")
    )


def find_gpu(name: str) -> GpuModel:
    """Find a GPU model by its common name or NVML's. Raises UsageError, which suggests the closest name."""
    found = {_normalized(known): gpu for gpu in gpu_models() for known in gpu.names}
    normalized = _normalized(name)
    if gpu := found.get(normalized) or _with_memory_suffix(normalized, found):
        return gpu
    if _OTHER_MAKERS.match(normalized):
        raise UsageError(msg("{name} is not an NVIDIA GPU.", name=name), "This server runs on NVIDIA GPUs.")
    near = _closest_name(normalized, found)
    known = ", ".join(sorted(gpu.short_name for gpu in gpu_models()))
    hint = msg("Did you mean {word}?", word=near.short_name) if near else msg("Known: {words}.", words=known)
    raise UsageError(msg("There is no card {name} in the table.", name=_shortened(name)), hint)


def _with_memory_suffix(normalized: str, found: Mapping[str, GpuModel]) -> GpuModel | None:
    """Match a name with the nominal memory as its suffix: `A10-24GB` is an A10."""
    for digits in (1, 2, 3):
        match = re.fullmatch(rf"(.+)(\d{{{digits}}})gb?", normalized)
        gpu = found.get(match[1]) if match else None
        if match is not None and gpu is not None:
            nominal = int(match[2]) << 30
            if abs(gpu.memory_total_bytes - nominal) <= nominal * _MAX_RESERVED:
                return gpu
    return None


def _closest_name(normalized: str, found: Mapping[str, GpuModel]) -> GpuModel | None:
    """The model of the same series of which this may be a misspelling; never one of another series."""
    series = _series(normalized)
    same_series = [name for name in found if series is not None and _series(name) == series]
    if prefixed := [name for name in same_series if name.startswith(normalized) or normalized.startswith(name)]:
        return found[min(prefixed, key=lambda name: abs(len(name) - len(normalized)))]
    if other_memory := [name for name in found if re.fullmatch(rf"{name}\d{{1,3}}gb?", normalized)]:
        return found[max(other_memory, key=len)]  # with a memory size that does not exist
    # Only the last digit may differ: names that differ earlier are other models, such as A1000 and A6000.
    letters, digits = series or ("", "")
    typos = [
        name
        for name in found
        if (own := _series(name)) and own[0] == letters and own[1][:-1] == digits[:-1] and len(own[1]) == len(digits)
    ]
    return next(
        (found[name] for name in difflib.get_close_matches(normalized, typos, n=1, cutoff=_SIMILARITY_CUTOFF)), None
    )


def _series(normalized: str) -> tuple[str, str] | None:
    """Letters and digits at the start: (`rtx`, `4090`) for `rtx4090d`."""
    match = re.match(r"([a-z]*)(\d+)", normalized)
    return (match[1], match[2]) if match else None


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_NAME_LENGTH else f"{text[:_MAX_NAME_LENGTH]}..."


def _number(text: str, maximum: int, what: str) -> int:
    """Parse a number. Raises UsageError if it is above `maximum`."""
    number = int(text) if len(text) <= _MAX_DIGITS else maximum + 1
    if number > maximum:
        raise UsageError(
            msg("--gpus asks for {number} {kind}.", number=_shortened(text), kind=what),
            msg("Plans are made for {number} of them at most.", number=maximum),
        )
    return number


def parse_node_prefix(text: str) -> tuple[int, str]:
    """Split `2 nodes of 4xA10` into the number of nodes and the GPUs of each. Raises UsageError."""
    found = _NODES.fullmatch(text)
    if found is None:
        return 1, text
    nodes = _number(found[1], _MAX_NODES, "nodes")
    if nodes == 0:
        raise UsageError(msg("--gpus cannot be read: {text!r}.", text=text), "Write it as 4xA10 or 2 nodes of 4xA10.")
    return nodes, found[2]


def hypothetical_machine(text: str) -> Inventory:
    """A machine with these idle GPUs, such as `4xA10` or `2xA100-40GB,1xT4`. Raises UsageError."""
    models: list[GpuModel] = []
    for part in text.split(","):
        match = _GPU_COUNT.fullmatch(part)
        count = _number(match[1] or "1", MAX_GPUS_PER_MACHINE, "cards") if match else 0
        if match is None or count == 0:
            raise UsageError(
                msg("--gpus cannot be read: {text!r}.", text=text), "Write it as 4xA10 or 2xA100-40GB,1xT4."
            )
        models += [find_gpu(match[2])] * count
    _number(str(len(models)), MAX_GPUS_PER_MACHINE, "cards")
    return idle_machine(models)


def parse_single_kind(text: str) -> tuple[GpuModel, int | None]:
    """Parse one GPU model with an optional count: `A10` or `4xA10`. Raises UsageError."""
    match = _GPU_COUNT.fullmatch(text)
    if match is None or (match[1] or "1").strip("0") == "" or "," in text:
        raise UsageError(
            msg("--users counts cards of one kind, and --gpus is {text!r}.", text=text), "Write it as A10 or 4xA10."
        )
    return find_gpu(match[2]), _number(match[1], _MAX_GPUS, "cards") if match[1] else None


def idle_machine(models: list[GpuModel]) -> Inventory:
    """A machine with idle GPUs of these models, and an unknown host."""
    gpus = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{index:08x}-0000-0000-0000-000000000000",
            name=gpu.names[0],
            memory_total_bytes=gpu.memory_total_bytes,
            memory_free_bytes=gpu.memory_total_bytes - (_SYSTEM_BYTES if gpu.integrated else _IDLE_BYTES),
            compute_capability=gpu.compute_capability,
            is_integrated=gpu.integrated,
        )
        for index, gpu in enumerate(models)
    )
    pairs = itertools.combinations(zip(gpus, models, strict=True), 2)
    links = {
        frozenset((one.uuid, other.uuid)): gpu.link if gpu is another else Link.NODE
        for (one, gpu), (other, another) in pairs
    }
    return Inventory(gpus, host=None, links=links)


def _normalized(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("tesla", "").replace("geforce", ""))
