"""What CUDA_VISIBLE_DEVICES leaves of a machine's GPUs, by CUDA's own rules. Pure.

The rules are those of the CUDA C++ Programming Guide ("CUDA Environment Variables"), and for what it leaves open those
of torch.cuda: what follows an entry that names no device is not seen; if a device is named twice, none is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .gpu import Gpu

VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"

_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_NO_GPU_OF_SLURM = "NoDevFiles"
_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True)
class Visible:
    """The GPUs that CUDA shows, in its order; the others; and what is worth telling about it."""

    gpus: tuple[Gpu, ...]
    hidden: tuple[Gpu, ...]
    remarks: tuple[str, ...]


def visible(gpus: Sequence[Gpu], value: str | None, order: str | None = None) -> Visible:
    """What CUDA shows of `gpus` (in nvidia-smi's order) for these values of the two variables."""
    if value is None:
        return Visible(tuple(gpus), (), ())
    shown: list[Gpu] = []
    remarks: list[str] = []
    for entry in (part.strip() for part in value.split(",")):
        gpu, problem = _named(entry, gpus)
        if gpu is None:
            # An empty string and -1 are the usual ways to say "none".
            if value.strip() not in ("", "-1"):
                remarks.append(f"{VARIABLE}={value}: {problem}, and CUDA does not look at what follows it.")
            break
        if gpu in shown:
            remarks.append(f"{VARIABLE}={value} names {entry} twice: CUDA then shows no GPU at all.")
            shown = []
            break
        shown.append(gpu)
    if value.strip() in ("", "-1"):
        remarks.append(f"{VARIABLE} is {value.strip() or 'empty'}, which hides every GPU.")
    elif _is_ambiguous(shown, gpus, value, order):
        remarks.append(
            f"{VARIABLE}={value} counts GPUs of different kinds: taken in nvidia-smi's order. CUDA itself may count "
            f"the fastest first; {ORDER}=PCI_BUS_ID or UUIDs leave no doubt."
        )
    return Visible(tuple(shown), tuple(gpu for gpu in gpus if gpu not in shown), tuple(remarks))


def _named(entry: str, gpus: Sequence[Gpu]) -> tuple[Gpu | None, str]:
    if number := _NUMBER.match(entry):  # like strtol, CUDA takes "1x" for 1
        return _numbered(int(number[0]), gpus)
    if entry.strip(_QUOTES) not in ("", entry):
        return None, f"{entry} names no GPU: write the list without quotes"
    if entry == _NO_GPU_OF_SLURM:
        return None, f"{entry} is what Slurm sets for a job that asked for no GPU: ask for one (--gpus), or unset it"
    if not entry.startswith(("GPU-", "MIG-")):
        return None, f"{entry or 'an empty entry'} names no GPU"
    found = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    if len(found) == 1:
        return found[0], ""
    if not found and (instance := next((gpu for gpu in gpus if (gpu.parent_uuid or "").startswith(entry)), None)):
        return instance, ""  # a GPU in MIG mode stands for the first of its instances
    return None, f"no GPU here is {entry}" if not found else f"{entry} is the beginning of {len(found)} UUIDs"


def _numbered(number: int, gpus: Sequence[Gpu]) -> tuple[Gpu | None, str]:
    if number < 0:
        return None, f"{number} ends the list"
    found = next((gpu for gpu in gpus if gpu.index == number), None)  # of a GPU in MIG mode the first instance
    return found, "" if found else f"there is no GPU {number}"


def _is_ambiguous(shown: Sequence[Gpu], gpus: Sequence[Gpu], value: str, order: str | None) -> bool:
    by_number = bool(shown) and _NUMBER.match(value.strip()) is not None
    return by_number and order != "PCI_BUS_ID" and len({gpu.name for gpu in gpus if not gpu.is_mig_instance}) > 1
