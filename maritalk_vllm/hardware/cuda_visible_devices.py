"""Apply CUDA_VISIBLE_DEVICES to a machine's GPUs, by CUDA's own rules. Pure.

The rules are those of the CUDA C++ Programming Guide ("CUDA Environment Variables") and, for what it leaves open, those
of torch.cuda: entries after one that names no device are ignored; if a device is named twice, no device is visible.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..i18n.message import msg
from .gpu import Gpu

VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"

_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_SLURM_NO_GPU = "NoDevFiles"
_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True)
class VisibleGpus:
    """The GPUs visible to CUDA, in its order; the hidden ones; and remarks for the user."""

    gpus: tuple[Gpu, ...]
    hidden: tuple[Gpu, ...]
    remarks: tuple[str, ...]


def visible_gpus(gpus: Sequence[Gpu], value: str | None, order: str | None = None) -> VisibleGpus:
    """Select from `gpus` (in nvidia-smi's order); `value` is CUDA_VISIBLE_DEVICES and `order` CUDA_DEVICE_ORDER."""
    if value is None:
        return VisibleGpus(tuple(gpus), (), ())
    selected: list[Gpu] = []
    remarks: list[str] = []
    for entry in (part.strip() for part in value.split(",")):
        gpu, problem = _match_entry(entry, gpus)
        if gpu is None:
            # An empty string and -1 are the usual ways to hide all GPUs, and not a mistake.
            if value.strip() not in ("", "-1"):
                remarks.append(
                    msg(
                        "{variable}={value}: {problem}, and CUDA does not look at what follows it.",
                        variable=VARIABLE,
                        value=value,
                        problem=problem,
                    )
                )
            break
        if gpu in selected:
            remarks.append(
                msg(
                    "{variable}={value} names {entry} twice: CUDA then shows no GPU at all.",
                    variable=VARIABLE,
                    value=value,
                    entry=entry,
                )
            )
            selected = []
            break
        selected.append(gpu)
    if value.strip() in ("", "-1"):
        remarks.append(
            msg("{variable} is {value}, which hides every GPU.", variable=VARIABLE, value=value.strip() or "empty")
        )
    elif _is_ambiguous(selected, gpus, value, order):
        remarks.append(
            msg(
                "{variable}={value} counts GPUs of different kinds: taken in nvidia-smi's order. CUDA itself may count "
                "the fastest first; {order}=PCI_BUS_ID or UUIDs leave no doubt.",
                variable=VARIABLE,
                value=value,
                order=ORDER,
            )
        )
    return VisibleGpus(tuple(selected), tuple(gpu for gpu in gpus if gpu not in selected), tuple(remarks))


def _match_entry(entry: str, gpus: Sequence[Gpu]) -> tuple[Gpu | None, str]:
    if number := _NUMBER.match(entry):  # like strtol, CUDA parses "1x" as 1
        return _match_index(int(number[0]), gpus)
    if entry.strip(_QUOTES) not in ("", entry):
        return None, msg("{entry} names no GPU: write the list without quotes", entry=entry)
    if entry == _SLURM_NO_GPU:
        return None, msg(
            "{entry} is what Slurm sets for a job that asked for no GPU: ask for one (--gpus), or unset it", entry=entry
        )
    if not entry.startswith(("GPU-", "MIG-")):
        return None, msg("{entry} names no GPU", entry=entry or "an empty entry")
    found = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    if len(found) == 1:
        return found[0], ""
    if not found and (instance := next((gpu for gpu in gpus if (gpu.parent_uuid or "").startswith(entry)), None)):
        return instance, ""  # a GPU in MIG mode selects its first instance
    return None, msg("no GPU here is {entry}", entry=entry) if not found else msg(
        "{entry} is the beginning of {number} UUIDs", entry=entry, number=len(found)
    )


def _match_index(number: int, gpus: Sequence[Gpu]) -> tuple[Gpu | None, str]:
    if number < 0:
        return None, msg("{number} ends the list", number=number)
    found = next((gpu for gpu in gpus if gpu.index == number), None)  # in MIG mode, the first instance
    return found, "" if found else msg("there is no GPU {number}", number=number)


def _is_ambiguous(selected: Sequence[Gpu], gpus: Sequence[Gpu], value: str, order: str | None) -> bool:
    by_number = bool(selected) and _NUMBER.match(value.strip()) is not None
    return by_number and order != "PCI_BUS_ID" and len({gpu.name for gpu in gpus if not gpu.is_mig_instance}) > 1
