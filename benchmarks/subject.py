"""What is served while it is measured: a model, where, and with which flags."""

from dataclasses import dataclass
from pathlib import Path

from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings


@dataclass(frozen=True, slots=True)
class Subject:
    """The folder of a model, the device that has it, its longest context (tokens), and flags beyond the plan's."""

    model: Path
    device: Device = Device.CPU
    max_model_len: int | None = None
    flags: tuple[str, ...] = ()

    def launch(self, folder: Path) -> Launch:
        """Ours, decided, with its cache in `folder`. Raises MariTalkError if it cannot be served here."""
        settings = Settings(
            model=str(self.model),
            device=self.device,
            max_model_len=self.max_model_len,
            cache_dir=folder,
            engine_args=self.flags,
        )
        return decide(settings)
