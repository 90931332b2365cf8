"""What ends a start before the weights are loaded: doctor and --dry-run find it, and end with the same exit code."""

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
from maritalk_vllm.errors import UsageError
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


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def cache_is_a_file(folder: Path) -> list[str]:
    return ["--cache-dir", str(folder / "config.json")]


def cache_in_a_file(folder: Path) -> list[str]:
    return ["--cache-dir", str(folder / "config.json" / "cache")]


def read_only_home(folder: Path) -> dict[str, str]:
    # Nothing can be made below /proc, whoever asks: also where the tests run as root.
    return {"HOME": "/proc/nothing", "XDG_CACHE_HOME": "", "MARITALK_CACHE_DIR": ""}


def log_is_a_folder(folder: Path) -> list[str]:
    return ["--log-file", str(folder)]


def no_chat_template(folder: Path) -> list[str]:
    return ["--", "--chat-template", str(folder / "nothing.jinja")]


def no_tokenizer_there(folder: Path) -> list[str]:
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


def our_flag(folder: Path) -> list[str]:
    return ["--", "--port", "4"]


def no_keys(folder: Path) -> list[str]:
    return ["--api-key-file", str(folder / "nothing")]


def foreign_head(folder: Path) -> list[str]:
    return ["--nodes", "2", "--head", "192.0.2.1", "--device", "cpu"]


def foreign_host(folder: Path) -> list[str]:
    return ["--host", "192.0.2.1"]


def offline(folder: Path) -> list[str]:
    return ["--model", "acme/nothing"]


KINDS: list[tuple[Change, int, str]] = [
    (long_context, 2, "--max-model-len 1025 is more than the 1024 tokens"),
    (no_tokenizer, 6, "has no tokenizer"),
    (tokenizer_pointer, 6, "git lfs pull"),
    (damaged_tokenizer, 6, "tokenizer.json is damaged"),
    (weights_pointer, 6, "git lfs pull"),
    (pickle_pointer, 6, "git lfs pull"),
    (config_pointer, 6, "git lfs pull"),
    (cut_weights, 6, "is cut off"),
    (cache_is_a_file, 2, "cannot be written to"),
    (cache_in_a_file, 2, "cannot be written to"),
    (read_only_home, 2, "cannot be written to"),
    (log_is_a_folder, 2, "Is a directory"),
    (no_chat_template, 2, "nothing.jinja is no file"),
    (no_tokenizer_there, 2, "nothing is no folder"),
    (no_adapter, 6, "holds no LoRA adapter"),
    (large_adapter, 2, "has rank 64, and vLLM takes up to 16"),
    (unknown_flag, 2, "vLLM has no flag --max-num-sequences. Did you mean"),
    (our_flag, 2, "--port cannot be given to vLLM"),
    (no_keys, 2, "nothing"),
    (foreign_head, 2, "is not an address of this machine"),
    (foreign_host, 8, "cannot listen on 192.0.2.1"),
    (offline, 6, "HF_HUB_OFFLINE"),
]


COMMANDS = (["maritalk-serve"], ["maritalk-serve", "--dry-run"], ["maritalk-vllm", "doctor"])


def run_all(words: list[str], env: dict[str, str]) -> list["subprocess.CompletedProcess[str]"]:
    """A start, which must fail, and the two that foretell it, at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda command: run(*command, *words, env=env), COMMANDS))


@pytest.mark.parametrize(("change", "code", "says"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_one_exit_code(change: Change, code: int, says: str, folder: Path, tmp_path: Path) -> None:
    changed = change(folder)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "MARITALK_CACHE_DIR": str(tmp_path / "cache")}
    words = ["--port", str(free_port()), "--model", str(folder)]
    if isinstance(changed, dict):
        env |= changed
    else:
        words += changed or []
    for command, result in zip(COMMANDS, run_all(words, env), strict=True):
        assert (result.returncode, says in result.stdout + result.stderr) == (code, True), (command, result)
        assert "Traceback" not in result.stderr


def test_a_port_in_use(folder: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        words = ["--model", str(folder), "--port", str(other.getsockname()[1])]
        assert [result.returncode for result in run_all(words, dict(os.environ))] == [8, 8, 8]


def test_what_is_whole_is_accepted(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "tokenizer")
    (folder / "tokenizer.json").unlink()
    (folder / "README.md").write_text(POINTER)  # vLLM does not read it
    (folder / "pytorch_model.bin").write_text(POINTER)  # nor this, where there is safetensors
    flags = ["--tokenizer", str(tmp_path / "tokenizer"), "--chat-template", "{{ messages }}", "--max_num_seqs=4"]
    words = ["--port", "0", "--model", str(folder), "--max-model-len", "1024", "--", *flags]
    for program, *command in (["maritalk-serve", "--dry-run"], ["maritalk-vllm", "doctor"]):
        result = run(program, *command, *words, env=dict(os.environ))
        assert result.returncode == 0, result.stdout + result.stderr
    longer = ["--port", "0", "--model", str(tmp_path / "tokenizer"), "--max-model-len", "2048", "--dry-run"]
    assert run("maritalk-serve", *longer, env={**os.environ, "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}).returncode == 0


def test_plan_knows_the_longest_context_too(folder: Path) -> None:
    result = run("maritalk-vllm", "plan", "--model", str(folder), "--max-model-len", "1025", env=dict(os.environ))
    assert result.returncode == 2
    assert "Give 1024 or less, or leave it out." in result.stderr


def test_flags_that_vllm_knows() -> None:
    words = (
        "--max-num-seqs 4 -q fp8 -O3 --compilation-config.mode=3 --no-enable-prefix-caching --seed -1 --chat-template x"
    )
    check_flags(words.split())
    check_flags(["--lora-modules", "a=b", "--enable_lora", "--kv-transfer-config", "{}", "-dcp", "2"])
    assert len(known_flags()) > 200
    for wrong in ("--max-num-sequences", "--temperature", "-Z"):
        with pytest.raises(UsageError, match="vLLM has no flag"):
            check_flags([wrong, "1"])
