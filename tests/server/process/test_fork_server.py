"""The fork server and the API process where they receive what is no message of the supervisor."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import pytest

from maritalk_vllm.engine.step_watchdog import StepWatchdog
from maritalk_vllm.errors import EngineError
from maritalk_vllm.server.messaging.base_message import MessageError
from maritalk_vllm.server.messaging.error_report import ErrorReport
from maritalk_vllm.server.process.api_process import _ApiProcess
from maritalk_vllm.server.process.ipc_channel import Channel
from maritalk_vllm.server.process.process_messages import (
    CONTROL,
    JOBS,
    TO_SUPERVISOR,
    AbortRequests,
    Control,
    Failed,
    Imported,
    Importing,
    Serve,
    UpdateOptions,
)
from tests.server.messaging.samples import close_descriptors, frame, sample
from tests.stub_engine.server import ROOT


def test_a_fork_server_exits_with_an_error_if_it_cannot_read_a_job(tmp_path: Path) -> None:
    ours, theirs = Channel.pair(TO_SUPERVISOR, JOBS)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stub_engine", "cpu", str(theirs.fileno()), str(os.getpid())],
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    theirs.close()
    with process:
        assert [ours.receive(), ours.receive()] == [Importing(), Imported()]
        ours._end.send(frame(b"\x81\xa4type\xa5Paint"))
        failed = ours.receive()
        assert isinstance(failed, Failed)
        error = failed.error.to_error()
        assert isinstance(error, MessageError)
        assert error.message == (
            "A message from the supervisor to the fork server is invalid: its type 'Paint' is unknown."
        )
        assert ours.receive() is None
    assert process.returncode == error.exit_code == 7
    ours.close()


@pytest.fixture
def process() -> Iterator[_ApiProcess]:
    """An API process before it serves, with an engine that runs."""
    job = sample(Serve, filled=True)
    close_descriptors(job)
    client: Any = SimpleNamespace(engine_core=SimpleNamespace(is_lost=False, expire=lambda _: None))
    ours, theirs = Channel.pair(JOBS, TO_SUPERVISOR)
    with contextlib.closing(ours), contextlib.closing(theirs):
        yield _ApiProcess(client, StepWatchdog(), job, ours, None)


def check(process: _ApiProcess) -> None:
    """Raise an error if the process has to end."""
    generator: Any = SimpleNamespace(unfinished_requests=0)
    process._check(generator)


def receive_control(process: _ApiProcess, packet: bytes) -> None:
    """Have the process receive this from the supervisor."""
    ours: Channel[Control, Never]
    ours, theirs = Channel.pair(CONTROL, None)

    server: Any = None  # none of these messages is for it

    async def receive() -> None:
        process._on_control_message(ours, server)

    with contextlib.closing(ours), contextlib.closing(theirs):
        theirs._end.send(packet)
        asyncio.run(receive())


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (CONTROL.frame(AbortRequests(ErrorReport.of(EngineError("Node 1 is gone.")))), r"^Node 1 is gone\.$"),
        (frame(b"\x81\xa4type\xadUpdateOptions"), "UpdateOptions: Object missing required field `options`"),
        (b"x", "its header ends after 1 of 4 bytes"),
    ],
)
def test_an_api_process_ends_on_an_abort_and_on_what_may_revoke_a_key(
    process: _ApiProcess, packet: bytes, error: str
) -> None:
    receive_control(process, packet)
    with pytest.raises(EngineError, match=error):
        check(process)


def test_an_api_process_applies_new_options_as_they_were_sent(process: _ApiProcess) -> None:
    options = sample(UpdateOptions, filled=True).options
    receive_control(process, CONTROL.frame(UpdateOptions(options)))
    assert process._options == options
    assert process._state.files == options.file_problems
    check(process)
