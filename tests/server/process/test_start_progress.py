"""The progress of a start, with lines of vLLM's log."""

import asyncio
from pathlib import Path

import pytest

from maritalk_vllm.server.process import start_progress
from maritalk_vllm.server.process.start_progress import StartProgress
from maritalk_vllm.server.startup.console import Console
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import Settings

SHARDS = "Loading safetensors checkpoint shards:  {percent}% Completed | {done}/2 [00:01<00:01,  1.00s/it]\n"


def test_a_later_step_is_not_replaced_by_the_last_one_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log still ends with the weights while the API process warms up."""
    monkeypatch.setattr(start_progress, "_PROGRESS_SECONDS", 0.01)
    log, state = tmp_path / "engine.log", ServerState()
    log.write_text(SHARDS.format(percent=50, done=1))
    progress = StartProgress(Settings(log_file=log, start_timeout=20), Console(), state)
    steps = []

    async def next_event() -> None:
        """Called once for each look at the log."""
        steps.append(state.step)
        if steps[-3:] == ["Loading weights 1/2"] * 3:
            state.set_step("Warming up")
        elif steps[-3:] == ["Warming up"] * 3:
            log.write_text(log.read_text() + SHARDS.format(percent=100, done=2))
        elif steps[-1] == "Loading weights 2/2":
            return
        await asyncio.sleep(60)

    async def run() -> None:
        with progress.running():
            await progress.wait_for(next_event)

    asyncio.run(run())
    assert steps == ["", *["Loading weights 1/2"] * 3, *["Warming up"] * 3, "Loading weights 2/2"]
