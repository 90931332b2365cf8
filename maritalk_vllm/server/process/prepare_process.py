"""The process that makes the demo model's checkpoint before it is served for the first time."""

from pathlib import Path

from ...models import demo_model
from ...models.profile import find
from .ipc_channel import Channel, Message


def prepare(order: Message, channel: Channel) -> None:
    """Make the checkpoint `order["location"]` of the profile `order["profile"]`. Raises WeightsError."""
    profile = find(order["profile"])
    assert profile is not None and profile.embedded is not None

    def progress(step: str, fraction: float) -> None:
        channel.send({"event": "progress", "step": step, "fraction": fraction})

    demo_model.materialise(profile.embedded, Path(order["location"]), progress)
