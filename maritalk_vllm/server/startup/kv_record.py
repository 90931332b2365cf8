"""Keep the KV cache that vLLM measured at a start, in the cache folder, for the next plan of such a start."""

import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import msgspec

from ... import __version__
from ...hardware.cuda_host import cuda_host
from ...hardware.inventory import Inventory
from ...planning.kv_measurement import KvMeasurement, measurement_key, with_measurement
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...private_file import replace_private_file
from ...settings import Device, Settings

_FOLDER = "measured"
_MAX_BYTES = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KvRecord:
    """The record of starts with the same key (planning/kv_measurement.py). `file` is None where nothing is measured."""

    file: Path | None

    @classmethod
    def of(
        cls, plan: Plan, requirements: ModelRequirements, inventory: Inventory, settings: Settings, vllm: str
    ) -> Self:
        """The record of a start with this plan. `vllm` is the installed version."""
        if plan.device is Device.CPU:
            return cls(None)
        # Whether FlashInfer is used changes what vLLM's sampler and attention take.
        software = (__version__, vllm, "flashinfer" if cuda_host().can_use_flashinfer else "")
        key = measurement_key(plan, requirements, inventory, settings.engine_args, software)
        return cls(settings.cache_dir / _FOLDER / f"{key}.json" if key else None)

    def load(self) -> KvMeasurement | None:
        """Return the last measurement; None if there is none, or its file has another format."""
        if self.file is None:
            return None
        try:
            with self.file.open("rb") as file:
                found = msgspec.json.decode(file.read(_MAX_BYTES), type=KvMeasurement)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            _log.debug(f"The measured KV cache in {self.file} is ignored: {error}.")
            return None
        if found.tokens <= 0 or found.max_model_len <= 0:
            _log.debug(f"The measured KV cache in {self.file} is ignored: a number in it is not positive.")
            return None
        return found

    def store(self, tokens: int | None, max_model_len: int | None) -> None:
        """Store what vLLM measured today, if it says that (not None) and the folder is writable."""
        if self.file is None or not tokens or not max_model_len:
            return
        measured = KvMeasurement(tokens=tokens, max_model_len=max_model_len, day=date.today())
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            replace_private_file(self.file, msgspec.json.encode(measured).decode())
        except OSError as error:
            _log.debug(f"The measured KV cache cannot be kept in {self.file}: {error.strerror}.")


def measured_plan(
    plan: Plan, requirements: ModelRequirements, inventory: Inventory, settings: Settings, vllm: str
) -> tuple[Plan, KvRecord]:
    """Return the plan with the KV cache that an earlier start measured, if one did, and the record of this start."""
    record = KvRecord.of(plan, requirements, inventory, settings, vllm)
    measured = record.load()
    return (with_measurement(plan, requirements, measured) if measured else plan), record
