"""The job that makes the demo model's checkpoint before its first start."""

from pathlib import Path

from ...models import demo_model
from ...models.profile import find
from .ipc_channel import Channel, Message


def prepare(job: Message, channel: Channel) -> None:
    """Make the checkpoint of the profile `job["profile"]` in the folder `job["location"]`. Raises WeightsError."""
    profile = find(job["profile"])
    assert profile is not None and profile.embedded is not None

    def progress(step: str, fraction: float) -> None:
        channel.send({"event": "progress", "step": step, "fraction": fraction})

    demo_model.materialise(profile.embedded, Path(job["location"]), progress)
