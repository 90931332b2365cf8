"""The first cause of a failed start, found in vLLM's log, and its explanation."""

import json
import re
from pathlib import Path
from threading import Timer

import pytest

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.startup_errors import explain_exit, explain_startup_errors, first_cause
from maritalk_vllm.errors import DoesNotFit, EngineError, MariTalkError, NoSuitableGPU, Unavailable, UsageError
from maritalk_vllm.models import demo_model
from maritalk_vllm.server.process.json_lines import JsonLines
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


def test_first_cause_of_printed_lines_in_a_json_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(JsonLines().convert(LOG.encode()))
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


CHAIN = """\
(EngineCore pid=2) ERROR 11-23 11:46:25 [x.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB.
(EngineCore pid=2) ERROR 11-23 11:46:25 [x.py:9] The above exception was the direct cause of the following:
(EngineCore pid=2) ERROR 11-23 11:46:25 [x.py:9] RuntimeError: CUDA out of memory occurred when warming up sampler \
with 256 dummy requests. Please try lowering `max_num_seqs`.
(Worker_TP1 pid=4) ERROR 11-23 11:46:26 [multiproc_executor.py:900] RuntimeError: Error in memory profiling.
"""


def test_an_exception_that_explains_more_is_the_cause_if_it_is_of_the_same_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(CHAIN)
    assert first_cause(log) == (
        "CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering "
        "`max_num_seqs`."
    )


@pytest.mark.parametrize(
    ("code", "cause", "hint"),
    [
        ("-11", "the engine's process was killed by SIGSEGV", "--enforce-eager"),
        ("-9", "the engine's process was killed by SIGKILL", "dmesg says whether the kernel killed it"),
        ("-7", "/dev/shm, through which", "--shm-size"),
        ("3", "the engine's process ended with 3", "Its log"),
    ],
)
def test_a_worker_that_logs_nothing_is_described_by_its_exit(tmp_path: Path, code: str, cause: str, hint: str) -> None:
    log = tmp_path / "log"
    log.write_text(
        "(EngineCore pid=2) ERROR 11-23 11:46:25 [x.py:315] Worker proc VllmWorker-1 died unexpectedly "
        f"(exit code: {code}), shutting down executor.\n"
        "(EngineCore pid=2) ERROR 11-23 11:46:25 [core.py:1702] RuntimeError: Executor failed.\n"
    )
    with pytest.raises(MariTalkError) as caught, explain_startup_errors(log):
        raise Unavailable("The engine has stopped.")
    assert cause in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("pynvml.NVMLError_InvalidArgument: Invalid Argument", "Invalid Argument"),
        ("torch._inductor.exc.InvalidCxxCompiler: No working C++ compiler found in g++", "No working C++ compiler"),
        ("torch.AcceleratorError: CUDA error: an illegal memory access was encountered", "an illegal memory access"),
        ("torch.distributed.DistBackendError: NCCL error in: /x.cpp:94, unhandled cuda error", "NCCL error in"),
    ],
)
def test_exceptions_with_any_name_are_found(tmp_path: Path, line: str, cause: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"(Worker pid=3) ERROR 11-23 11:46:25 [worker.py:900] {line}\n")
    assert cause in str(first_cause(log))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("Error 802: system not yet initialized", NoSuitableGPU, "Fabric Manager does not run"),
        ("[Errno 28] No space left on device", DoesNotFit, "or a disk is full"),
        ("CUDA error: an illegal memory access was encountered", EngineError, "a kernel failed on a GPU"),
    ],
)
def test_a_failed_start_ends_with_the_error_of_its_cause(
    tmp_path: Path, text: str, error: type[MariTalkError], message: str
) -> None:
    """Also in the warm-up, during which a dead engine raises `Unavailable`."""
    log = tmp_path / "log"
    log.write_text(f"(EngineCore pid=3) ERROR 11-23 11:46:25 [core.py:900] RuntimeError: {text}\n")
    for raised in (RuntimeError("Engine core initialization failed."), Unavailable("The engine has stopped.")):
        with pytest.raises(error, match=f"^vLLM failed to start: .*{message}") as caught, explain_startup_errors(log):
            raise raised
        assert type(caught.value) is error
        assert f"Its log: {log}" in caught.value.hint


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
    """A device such as /dev/full returns bytes forever."""
    (tmp_path / "log").symlink_to("/dev/full")
    assert first_cause(tmp_path / "log") is None


@pytest.mark.parametrize(
    ("text", "length"),
    [
        (
            "To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (0.09 GiB). Based on the available memory, the estimated "
            "maximum model length is 4080. Try increasing `gpu_memory_utilization`",
            4080,
        ),
        (
            "To serve at least one request with the model's max seq len (8192), (0.18 GiB KV cache is needed, which is "
            "larger than the available KV cache memory (0.00 GiB). Try increasing `gpu_memory_utilization`",
            None,
        ),
        ("No available memory for the cache blocks.", None),
    ],
)
def test_the_error_has_the_length_with_which_vllm_would_start(tmp_path: Path, text: str, length: int | None) -> None:
    with pytest.raises(EngineError) as caught, explain_startup_errors(tmp_path / "log"):
        raise ValueError(text)
    assert caught.value.max_model_len == length
