"""The model under test, its device, and its engine flags."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings


class Engine(StrEnum):
    """The worker: vLLM's, or one that computes nothing, so that only the front end is measured."""

    REAL = "real"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Subject:
    """Checkpoint folder, device, maximum context in tokens, and engine flags beyond the plan's.

    `options` are more options of our server, which others are not given.
    """

    model: Path
    device: Device = Device.CPU
    max_model_len: int | None = None
    flags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def launch(self, folder: Path) -> Launch:
        """Our server's resolved launch, with its cache in `folder`. Raises MariTalkError if it cannot be served."""
        settings = Settings(
            model=str(self.model),
            device=self.device,
            max_model_len=self.max_model_len,
            cache_dir=folder,
            engine_args=self.flags,
        )
        return decide(settings)
