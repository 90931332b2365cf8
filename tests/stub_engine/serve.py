"""`maritalk-serve` with a stub engine: `python -m tests.stub_engine.serve OPTION...`."""

import sys
from functools import partial
from unittest.mock import patch

from maritalk_vllm.cli import serve
from maritalk_vllm.server import supervisor
from maritalk_vllm.server.process import engine_room
from tests.stub_engine.script import available_bytes

FORK_SERVER = (sys.executable, "-P", "-m", "tests.stub_engine")


if __name__ == "__main__":
    with (
        patch.object(supervisor, "supervise", partial(supervisor.supervise, fork_server_command=FORK_SERVER)),
        patch.object(engine_room, "available_bytes", available_bytes),
    ):
        serve.main()
