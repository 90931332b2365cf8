"""Loading progress from vLLM's log. The lines are those of vLLM 0.32 and 0.33."""

from pathlib import Path

import pytest

from maritalk_vllm.engine.load_progress import LoadingStep, log_size, read_loading_step

SHARDS = "Loading safetensors checkpoint shards:  25% Completed | {} [00:01<00:03,  1.00it/s]\r"


@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("", None),
        ("INFO nothing of note\n", None),
        (SHARDS.format("1/4"), LoadingStep("Loading weights 1/4", 0.25)),
        (SHARDS.format("1/4") + SHARDS.format("3/4"), LoadingStep("Loading weights 3/4", 0.75)),
        ("Multi-thread loading shards:  50% Completed | 1/2 [00:01<\r", LoadingStep("Loading weights 1/2", 0.5)),
        ("Writing model shards: 100%|██████████| 1/1 [00:00<00:00,  1.81it/s]\n", None),
        (SHARDS.format("0/0"), LoadingStep("Loading weights 0/0", None)),
        (SHARDS.format("4/4") + "\nINFO Dynamo bytecode transform time: 3.2 s\n", LoadingStep("Compiling")),
        (
            "INFO Compiling a graph for dynamic shape\nCapturing CUDA graphs: 10%\r",
            LoadingStep("Capturing CUDA graphs"),
        ),
    ],
)
def test_latest_step_in_the_log(tmp_path: Path, log: str, step: LoadingStep | None) -> None:
    file = tmp_path / "log"
    file.write_text(log)
    assert read_loading_step(file, 0) == step


def test_previous_start_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert read_loading_step(file, log_size(file)) is None
    file.write_text(SHARDS.format("1/4"))
    begin = log_size(file)
    assert read_loading_step(file, begin) is None
    with file.open("a") as more:
        more.write(SHARDS.format("2/4"))
    assert read_loading_step(file, begin) == LoadingStep("Loading weights 2/4", 0.5)
