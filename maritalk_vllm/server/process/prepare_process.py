"""The job that makes the demo model's checkpoint before its first start."""

from ...models import demo_model
from ...models.profile import find
from .process_messages import Prepare, Progress, ReportChannel


def prepare(job: Prepare, channel: ReportChannel) -> None:
    """Make the checkpoint, and report the progress. Raises WeightsError."""
    profile = find(job.profile)
    assert profile is not None and profile.embedded is not None

    def progress(step: str, fraction: float) -> None:
        channel.send(Progress.of(step, fraction))

    demo_model.materialise(profile.embedded, job.folder, progress)
