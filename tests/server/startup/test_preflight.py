"""A problem found before the weights are loaded has one exit code for a start, --dry-run and doctor."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maritalk_vllm.engine.vllm_flags import check_flags, known_flags
from maritalk_vllm.errors import PortError, UsageError
from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.startup.preflight import check_control_port
from maritalk_vllm.settings import DistributedBackend
from tests.commands import run
from tests.models.files import model
from tests.serving import free_port

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1000\n".format("0" * 64)
TOKENIZER = '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}'
Change = Callable[[Path], list[str] | dict[str, str] | None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = model(tmp_path / "model", {"model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64])})
    (folder / "tokenizer.json").write_text(TOKENIZER)
    return folder


def long_context(folder: Path) -> list[str]:
    return ["--max-model-len", "1025"]  # its config.json says 1024


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def tokenizer_pointer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(POINTER)


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text(TOKENIZER[:-5])


def weights_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(POINTER)


def pickle_pointer(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text(POINTER)


def config_pointer(folder: Path) -> None:
    (folder / "config.json").write_text(POINTER)


def truncated_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def cache_is_a_file(folder: Path) -> list[str]:
    return ["--cache-dir", str(folder / "config.json")]


def cache_in_a_file(folder: Path) -> list[str]:
    return ["--cache-dir", str(folder / "config.json" / "cache")]


def read_only_home(folder: Path) -> dict[str, str]:
    # No user can create a folder below /proc, not even root.
    return {"HOME": "/proc/nothing", "XDG_CACHE_HOME": "", "MARITALK_CACHE_DIR": ""}


def data_in_a_file(folder: Path) -> list[str]:
    return ["--data-dir", str(folder / "config.json" / "data")]


def log_is_a_folder(folder: Path) -> list[str]:
    return ["--log-file", str(folder)]


def no_chat_template(folder: Path) -> list[str]:
    return ["--", "--chat-template", str(folder / "nothing.jinja")]


def missing_tokenizer_option(folder: Path) -> list[str]:
    return ["--", f"--tokenizer={folder / 'nothing'}"]


def no_adapter(folder: Path) -> list[str]:
    return ["--", "--enable-lora", "--lora-modules", f"mine={folder}"]


def large_adapter(folder: Path) -> list[str]:
    adapter = folder.parent / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 64}))
    return ["--", "--enable-lora", "--lora-modules", json.dumps({"name": "mine", "path": str(adapter)})]


def unknown_flag(folder: Path) -> list[str]:
    return ["--", "--max-num-seq", "4", "--max-num-sequences", "4"]


def reserved_flag(folder: Path) -> list[str]:
    return ["--", "--port", "4"]


def no_keys(folder: Path) -> list[str]:
    return ["--api-key-file", str(folder / "nothing")]


def remote_head(folder: Path) -> list[str]:
    return ["--nodes", "2", "--head", "192.0.2.1", "--device", "cpu"]


def remote_host(folder: Path) -> list[str]:
    return ["--host", "192.0.2.1"]


def offline(folder: Path) -> list[str]:
    return ["--model", "acme/nothing"]


PROBLEMS: list[tuple[Change, int, str]] = [
    (long_context, 2, "--max-model-len 1025 is more than the 1024 tokens"),
    (no_tokenizer, 6, "has no tokenizer"),
    (tokenizer_pointer, 6, "git lfs pull"),
    (damaged_tokenizer, 6, "tokenizer.json is damaged"),
    (weights_pointer, 6, "git lfs pull"),
    (pickle_pointer, 6, "git lfs pull"),
    (config_pointer, 6, "git lfs pull"),
    (truncated_weights, 6, "is cut off"),
    (cache_is_a_file, 2, "cannot be written to"),
    (cache_in_a_file, 2, "cannot be written to"),
    (read_only_home, 2, "cannot be written to"),
    (data_in_a_file, 2, "Choose another folder with --data-dir."),
    (log_is_a_folder, 2, "Is a directory"),
    (no_chat_template, 2, "nothing.jinja is no file"),
    (missing_tokenizer_option, 2, "nothing is no folder"),
    (no_adapter, 6, "holds no LoRA adapter"),
    (large_adapter, 2, "has rank 64, and vLLM takes up to 16"),
    (unknown_flag, 2, "vLLM has no flag --max-num-sequences. Did you mean"),
    (reserved_flag, 2, "--port cannot be given to vLLM"),
    (no_keys, 2, "nothing"),
    (remote_head, 2, "is not an address of this machine"),
    (remote_host, 8, "cannot listen on 192.0.2.1"),
    (offline, 6, "HF_HUB_OFFLINE"),
]


COMMANDS = (["maritalk-serve"], ["maritalk-serve", "--dry-run"], ["maritalk-vllm", "doctor"])


def run_all(arguments: list[str], env: dict[str, str]) -> list["subprocess.CompletedProcess[str]"]:
    """Run a start, which must fail, --dry-run and doctor at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda command: run(*command, *arguments, env=env), COMMANDS))


@pytest.mark.parametrize(("change", "code", "message"), PROBLEMS, ids=lambda value: getattr(value, "__name__", ""))
def test_problem_has_the_same_exit_code_in_all_commands(
    change: Change, code: int, message: str, folder: Path, tmp_path: Path
) -> None:
    changed = change(folder)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "MARITALK_CACHE_DIR": str(tmp_path / "cache")}
    arguments = ["--port", str(free_port()), "--model", str(folder)]
    if isinstance(changed, dict):
        env |= changed
    else:
        arguments += changed or []
    for command, result in zip(COMMANDS, run_all(arguments, env), strict=True):
        assert (result.returncode, message in result.stdout + result.stderr) == (code, True), (command, result)
        assert "Traceback" not in result.stderr


def test_port_in_use_exits_with_8_except_for_a_dry_run(folder: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as occupied:
        port = occupied.getsockname()[1]
        results = run_all(["--model", str(folder), "--port", str(port)], dict(os.environ))
        assert [result.returncode for result in results] == [8, 0, 8]
    assert results[1].stdout
    assert f"Warning: Port {port} is in use by " in results[1].stderr


def test_an_address_of_another_machine_fails_a_dry_run_too(folder: Path) -> None:
    results = run_all(["--model", str(folder), "--host", "192.0.2.1"], dict(os.environ))
    assert [result.returncode for result in results] == [8, 8, 8]


def test_control_port_in_use_names_the_option_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        group = ClusterConfig(nodes=2, rank=0, head="127.0.0.1", port=port - 1, backend=DistributedBackend.MP)
        with pytest.raises(PortError) as error:
            check_control_port(group)
    assert error.value.message.endswith(f", process {os.getpid()}.")
    assert error.value.hint == "Choose another PORT with --head ADDRESS:PORT; the nodes use the port after it."


def test_complete_model_is_accepted(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "tokenizer")
    (folder / "tokenizer.json").unlink()
    (folder / "README.md").write_text(POINTER)  # vLLM does not read this file
    (folder / "pytorch_model.bin").write_text(POINTER)  # nor this one beside safetensors files
    flags = ["--tokenizer", str(tmp_path / "tokenizer"), "--chat-template", "{{ messages }}", "--max_num_seqs=4"]
    arguments = ["--port", "0", "--model", str(folder), "--max-model-len", "1024", "--", *flags]
    for program, *command in (["maritalk-serve", "--dry-run"], ["maritalk-vllm", "doctor"]):
        result = run(program, *command, *arguments, env=dict(os.environ))
        assert result.returncode == 0, result.stdout + result.stderr
    longer = ["--port", "0", "--model", str(tmp_path / "tokenizer"), "--max-model-len", "2048", "--dry-run"]
    assert run("maritalk-serve", *longer, env={**os.environ, "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}).returncode == 0


def test_plan_rejects_a_context_above_the_models(folder: Path) -> None:
    result = run("maritalk-vllm", "plan", "--model", str(folder), "--max-model-len", "1025", env=dict(os.environ))
    assert result.returncode == 2
    assert "Give 1024 or less, or leave it out." in result.stderr


def test_flag_check_accepts_vllm_flags_and_rejects_others() -> None:
    flags = (
        "--max-num-seqs 4 -q fp8 -O3 --compilation-config.mode=3 --no-enable-prefix-caching --seed -1 --chat-template x"
    )
    check_flags(flags.split())
    check_flags(["--lora-modules", "a=b", "--enable_lora", "--kv-transfer-config", "{}", "-dcp", "2"])
    assert len(known_flags()) > 200
    for unknown in ("--max-num-sequences", "--temperature", "-Z"):
        with pytest.raises(UsageError, match="vLLM has no flag"):
            check_flags([unknown, "1"])
