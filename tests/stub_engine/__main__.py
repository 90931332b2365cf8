"""The fork server with the stub engine: `python -m tests.stub_engine DEVICE CHANNEL PARENT`, run by the supervisor."""

import sys
from pathlib import Path
from unittest.mock import patch

import setproctitle

from maritalk_vllm.models.atomic_install import install_atomically
from maritalk_vllm.server.process import api_process, fork_server, process_tree
from maritalk_vllm.server.process.ipc_channel import Channel, Message
from maritalk_vllm.settings import Device
from tests.stub_engine import launcher
from tests.stub_engine.script import reach


def prepare(order: Message, channel: Channel) -> None:
    """Install an empty checkpoint, in the same way as a real one."""
    channel.send({"event": "progress", "step": "Reading the demo model's weights", "fraction": 0.0})

    def fill(folder: Path) -> None:
        folder.mkdir()
        reach("preparing")

    install_atomically(Path(order["location"]), fill, "The stub's model")


def main(device: str, descriptor: str, parent: str) -> None:
    process_tree.set_parent_death_signal(int(parent))
    process_tree.inherit_on_fork()
    setproctitle.setproctitle("maritalk: nursery of the stub")
    with (
        patch.object(fork_server, "vllm_launcher", launcher),
        patch.object(api_process, "vllm_launcher", launcher),
        patch.object(api_process, "MariTalkPlugin", launcher.StubPlugin),
        patch.dict(fork_server.JOBS, prepare=prepare),
    ):
        fork_server.main(Device(device), Channel.inherited(int(descriptor)), int(parent))


if __name__ == "__main__":
    main(*sys.argv[1:])
