"""The fork server with the stub engine: `python -m tests.stub_engine DEVICE CHANNEL PARENT`, run by the supervisor."""

import sys
from pathlib import Path
from unittest.mock import patch

import setproctitle

from maritalk_vllm.engine import step_times
from maritalk_vllm.models.atomic_install import install_atomically
from maritalk_vllm.server.process import (
    api_process,
    engine_link,
    engine_process,
    follower_process,
    fork_server,
    process_tree,
)
from maritalk_vllm.server.process.ipc_channel import Channel
from maritalk_vllm.server.process.process_messages import JOBS, TO_SUPERVISOR, Prepare, Progress, ReportChannel
from maritalk_vllm.settings import Device
from tests.stub_engine import launcher
from tests.stub_engine.script import reach, shortest_step_limit


def prepare(job: Prepare, channel: ReportChannel) -> None:
    """Install an empty checkpoint, in the same way as a real one."""
    channel.send(Progress("Reading the demo model's weights", 0.0))

    def fill(folder: Path) -> None:
        folder.mkdir()
        reach("preparing")

    install_atomically(job.folder, fill, "The stub's model")


def main(device: str, descriptor: str, parent: str) -> None:
    process_tree.set_parent_death_signal(int(parent))
    process_tree.inherit_on_fork()
    setproctitle.setproctitle("maritalk: nursery of the stub")
    with (
        patch.object(fork_server, "vllm_launcher", launcher),
        patch.object(engine_process, "vllm_launcher", launcher),
        patch.object(follower_process, "vllm_launcher", launcher),
        patch.object(api_process, "vllm_launcher", launcher),
        patch.object(engine_link, "vllm_launcher", launcher),
        patch.object(api_process, "MariTalkPlugin", launcher.StubPlugin),
        patch.object(fork_server, "prepare", prepare),
        patch.object(step_times, "MIN_SECONDS", shortest_step_limit(step_times.MIN_SECONDS)),
    ):
        channel = Channel.from_descriptor(int(descriptor), JOBS, TO_SUPERVISOR)
        fork_server.main(Device(device), channel, int(parent))


if __name__ == "__main__":
    main(*sys.argv[1:])
