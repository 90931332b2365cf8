"""Which files and folders flags for vLLM name."""

import json
from pathlib import Path

from maritalk_vllm.server.startup.flag_files import flag_files, lora_folders

NAMED = ("chat.jinja", "tokenizer", "first", "second", "draft", "tools.py", "reasoning.py", "config", "generation")


def test_existing_files_and_folders_are_found_once(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in NAMED}
    for path in paths.values():
        path.touch()
    engine_args = [
        *("--chat-template", str(paths["chat.jinja"]), f"--tokenizer={paths['tokenizer']}", "--max-num-seqs", "8"),
        *("--lora-modules", f"a={paths['first']}", json.dumps({"name": "b", "path": str(paths["second"])})),
        *("--speculative-config", json.dumps({"method": "eagle", "model": str(paths["draft"])})),
        *("--tool-parser-plugin", str(paths["tools.py"]), "--reasoning-parser-plugin", str(paths["reasoning.py"])),
        *("--hf-config-path", str(paths["config"]), "--generation-config", str(paths["generation"])),
    ]
    assert sorted(flag_files(engine_args)) == sorted(paths.values())
    assert flag_files(["--tokenizer", str(paths["tokenizer"]), "--hf-config-path", str(paths["tokenizer"])]) == [
        paths["tokenizer"]
    ]


def test_values_that_are_no_paths_are_left_out(tmp_path: Path) -> None:
    """Templates given as text, names of Hugging Face, and JSON without a model."""
    assert flag_files([]) == []
    for template in ("{{ messages }}" * 1000, "{{ a }}\0", str(tmp_path / "missing")):
        assert flag_files(["--chat-template", template, "--tokenizer", "org/name"]) == []
    for config in ('{"method": "ngram"}', '{"model": null}', "[1]", "not JSON", ""):
        assert flag_files(["--speculative-config", config]) == []
    assert list(lora_folders(["--lora-modules", "a=b", "[1]", "--seed", "c=d"])) == ["b"]
