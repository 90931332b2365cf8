"""What is served while it is measured: a model, where, and with which flags."""

from dataclasses import dataclass, replace
from pathlib import Path

from maritalk_vllm.server.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings


@dataclass(frozen=True, slots=True)
class Subject:
    """The folder of a model, the device that has it, and flags for vLLM beyond the plan's."""

    model: Path
    device: Device = Device.CPU
    flags: tuple[str, ...] = ()

    def with_flags(self, *flags: str) -> "Subject":
        """The same with more flags for vLLM."""
        return replace(self, flags=(*self.flags, *flags))

    def launch(self, folder: Path) -> Launch:
        """Ours, decided, with its cache in `folder`. Raises MariTalkError if it cannot be served here."""
        return decide(Settings(model=str(self.model), device=self.device, cache_dir=folder, engine_args=self.flags))
