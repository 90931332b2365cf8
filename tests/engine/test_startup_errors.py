"""The first cause of a failed start, found in vLLM's log, and its explanation."""

import json
import re
from pathlib import Path
from threading import Timer

import pytest

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.startup_errors import explain, explain_exit, explain_startup_errors, first_cause
from maritalk_vllm.errors import EngineError, Unavailable, UsageError
from maritalk_vllm.models import demo_model
from tests.demo_model import PROFILE

LOG = """\
(serve pid=1) INFO 11-23 11:46:20 [core.py:1] ValueError: not an error, a quotation
(Worker pid=3) ERROR 11-23 11:46:25 [multiproc_executor.py:900] Traceback (most recent call last):
(Worker pid=3) ERROR 11-23 11:46:25 [multiproc_executor.py:900] ValueError: No room for the weights: 24 GiB.
(EngineCore pid=2) ERROR 11-23 11:46:26 [core.py:1510] Exception: WorkerProc initialization failed due to an exception.
(serve pid=1) ERROR 11-23 11:46:27 [x.py:1] RuntimeError: Engine core initialization failed. See root cause above.
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log"
    file.write_text(LOG)
    return file


def test_first_cause_skips_secondary_errors(log: Path) -> None:
    assert first_cause(log) == "No room for the weights: 24 GiB."


def test_first_cause_in_a_json_log(tmp_path: Path) -> None:
    traceback = "Traceback (most recent call last):\n  File x, line 1\nValueError: No room for the weights: 24 GiB."
    lines = [
        {"levelname": "INFO", "message": "ValueError: not an error, a quotation"},
        {"levelname": "ERROR", "message": "WorkerProc failed to start.", "exc_info": traceback},
        {"levelname": "ERROR", "message": "RuntimeError: Engine core initialization failed. See root cause above."},
    ]
    file = tmp_path / "log"
    file.write_text("not json\n{\n" + "".join(json.dumps(line) + "\n" for line in lines))
    assert first_cause(file) == "No room for the weights: 24 GiB."


def test_no_cause_without_a_log(tmp_path: Path) -> None:
    assert first_cause(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Engine core initialization failed."),
        EngineError("The engine has stopped."),
        Unavailable("The engine has stopped."),
    ],
)
def test_secondary_error_is_replaced_by_its_cause(log: Path, error: Exception) -> None:
    with (
        pytest.raises(EngineError, match="vLLM failed to start: No room for the weights: 24 GiB") as caught,
        explain_startup_errors(log),
    ):
        raise error
    assert str(log) in caught.value.hint


def test_our_own_errors_propagate(log: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wrong"), explain_startup_errors(log):
        raise UsageError("wrong")
    with pytest.raises(EngineError, match="It generates no text"), explain_startup_errors(tmp_path / "empty"):
        raise EngineError("It generates no text")


@pytest.mark.parametrize(
    ("text", "cause", "hint"),
    [
        (
            "To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which "
            "is larger than the available KV cache memory (0.09 GiB). Based on the available memory, the estimated "
            "maximum model length is 3968. Try increasing `gpu_memory_utilization`",
            "one request of 8192 tokens needs 0.18 GiB of KV cache, and 0.09 GiB are available.",
            "--max-model-len 3968",
        ),
        (
            "Free memory on device cuda:0 (10.5/22.05 GiB) on startup is less than desired GPU memory utilization "
            "(0.92, 20.29 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "10.5 of 22.05 GiB are free on cuda:0, and 20.29 GiB were planned for (--gpu-memory-utilization 0.92).",
            "maritalk-vllm doctor",
        ),
        (
            "Total number of attention heads (9) must be divisible by tensor parallel size (2).",
            "9 attention heads cannot be split over 2 GPUs.",
            "divides 9",
        ),
        (
            "User-specified max_model_len (9999) is greater than the derived max_model_len "
            "(max_position_embeddings=8192.0 or model_max_length=None in model's config.json).",
            "--max-model-len 9999 is more than the 8192 tokens that the model can read.",
            "leave it out",
        ),
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 22.05 GiB of which 1.10 GiB "
            "is free. Process 1 has 20 GiB memory in use.",
            "GPU 0 ran out of memory: 2.00 GiB were asked for, and 1.10 GiB of 22.05 GiB were free.",
            "--tensor-parallel-size",
        ),
        (
            "No available memory for the cache blocks. Try",
            "nothing is left for the KV cache beside the weights.",
            "--gpu",
        ),
        ("An unknown error.", "An unknown error.", ""),
    ],
)
def test_vllm_messages_are_explained(text: str, cause: str, hint: str) -> None:
    assert explain(text)[0] == cause
    assert hint in explain(text)[1]


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllm_error_for_a_too_long_context_is_explained(prepared_cache: Path, tmp_path: Path) -> None:
    model = str(demo_model.folder(PROFILE, prepared_cache))
    args = vllm_launcher.parse(["--model", model, "--max-model-len", "9999"])
    expected = "^vLLM failed to start: --max-model-len 9999 is more than the 8192 tokens that the model can read.$"
    with (
        pytest.raises(EngineError) as caught,
        explain_startup_errors(tmp_path / "log"),
        vllm_launcher.launch_engine(args),
    ):
        pass
    assert re.fullmatch(expected, caught.value.message)


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_vllm_error_for_a_missing_chat_template_is_one_line(tmp_path: Path) -> None:
    """vLLM's application and our own routes load it in this way."""
    from vllm.renderers.chat_utils import load_chat_template

    with pytest.raises(EngineError) as caught, explain_startup_errors(tmp_path / "log"):
        load_chat_template("/nowhere.jinja")
    assert caught.value.message.startswith("vLLM failed to start: ")
    assert "/nowhere.jinja" in caught.value.message
    assert "\n" not in caught.value.message


def test_killed_engine_is_described_by_its_exit(tmp_path: Path) -> None:
    """During warm-up the death raises `Unavailable`, as for any request; it means a failed start."""
    error = explain_exit(tmp_path / "empty", "the engine's process was killed by SIGKILL")
    assert error.message.startswith("vLLM failed to start: the engine's process was killed by SIGKILL")
    assert error.hint.startswith("Memory may have run out")
    assert error.exit_code == 7
    with (
        pytest.raises(EngineError, match="vLLM failed to start: The engine has stopped"),
        explain_startup_errors(tmp_path / "empty"),
    ):
        raise Unavailable("The engine has stopped.", "The server's log says why.")


def test_first_cause_waits_for_a_delayed_log_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before, cause, after = LOG.partition("(Worker pid=3) ERROR 11-23 11:46:25 [multiproc_executor.py:900] ValueError")
    log.write_text(before)
    writing = Timer(0.1, lambda: log.write_text(before + cause + after))
    writing.start()
    with pytest.raises(EngineError, match="No room for the weights: 24 GiB"), explain_startup_errors(log):
        raise RuntimeError("Engine core initialization failed.")
    writing.join()


def test_endless_log_is_not_read(tmp_path: Path) -> None:
    """A device such as /dev/full returns bytes for ever."""
    (tmp_path / "log").symlink_to("/dev/full")
    assert first_cause(tmp_path / "log") is None
