"""Options: their sources, and `maritalk-vllm config`."""

import os
import subprocess
from dataclasses import fields
from pathlib import Path

import yaml

from maritalk_vllm.settings import OPTIONS, Settings, environment_variable, flag
from tests.commands import run


def run_tool(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", *arguments, env={**os.environ, **environment})


def shown_values(*arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    result = run_tool("config", "show", *arguments, **environment)
    assert result.returncode == 0, result.stderr
    rows = (line.split(maxsplit=1) for line in result.stdout.splitlines())
    return {name: (rest.rpartition("  [")[0], rest.rpartition("[")[2].rstrip("]")) for name, rest in rows}


def test_precedence_file_environment_flags(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 1111\nhost: 10.0.0.1\ntime-unit: s\nengine_args: [--seed, '3']\n")
    rows = shown_values("--config", str(file), "--port", "3333", MARITALK_PORT="2222", MARITALK_HOST="10.0.0.2")
    assert rows["port"] == ("3333", "flag")
    assert rows["host"] == ("10.0.0.2", "environment")
    assert rows["time_unit"] == ("s", "file")
    assert rows["engine_args"] == ("--seed 3", "file")
    assert rows["device"] == ("auto", "default")
    assert set(rows) == {field.name for field in fields(Settings)}
    assert shown_values(MARITALK_CONFIG=str(file))["port"] == ("1111", "file")


def test_values_are_those_of_a_configuration_file() -> None:
    rows = shown_values("--resume-timeout", "0.5")
    names = (
        "open_status",
        "resume_requests",
        "drain_timeout",
        "resume_timeout",
        "gpu_memory_utilization",
        "engine_args",
    )
    assert [rows[name][0] for name in names] == ["false", "true", "30", "0.5", "-", "-"]
    example = run_tool("config", "example").stdout
    assert "\n# drain_timeout: 30\n" in example
    assert "\n# open_status: false\n" in example


def test_config_show_masks_secrets() -> None:
    assert "SECRET" not in run_tool("config", "show", MARITALK_LICENSE="SECRET").stdout
    assert shown_values(MARITALK_LICENSE="SECRET")["license"] == ("********", "environment")


def test_arguments_after_two_dashes_are_vllm_flags() -> None:
    assert shown_values("--", "--seed", "3")["engine_args"] == ("--seed 3", "flag")
    shown = shown_values("qwen3-4b", "--", "--seed", "3")
    assert (shown["model"], shown["engine_args"]) == (("qwen3-4b", "flag"), ("--seed 3", "flag"))


def test_invalid_config_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for content, says in [
        ("prot: 1", "port"),
        ("port: nine", "nine"),
        ("- port", "name: value"),
        ("port: [", "cannot be read"),
        ("\udcff", "cannot be read"),
    ]:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
        result = run_tool("config", "show", "--config", str(file))
        assert result.returncode == 2, content
        assert result.stderr.count("\n") == 1, result.stderr
        assert says in result.stderr or "valid integer" in result.stderr


def test_help_names_flag_and_variable_of_every_option() -> None:
    text = run("maritalk-serve", "--help").stdout
    words = " ".join(text.split())
    for name in OPTIONS:
        if name != "engine_args":
            assert flag(name) in words
            assert environment_variable(name) in words


def test_example_is_valid_and_has_every_option(tmp_path: Path) -> None:
    example = run_tool("config", "example").stdout
    options = [line[2:] for line in example.splitlines() if line.startswith("# ") and line[2:].split(":")[0] in OPTIONS]
    assert set(yaml.safe_load("\n".join(options))) == set(OPTIONS)
    # Flags for vLLM are neither one of our flags nor a variable.
    assert "--engine-args" not in example and "MARITALK_ENGINE_ARGS" not in example
    assert all(
        flag(name) in example and environment_variable(name) in example for name in set(OPTIONS) - {"engine_args"}
    )
    file = tmp_path / "config.yaml"
    file.write_text(example + "\n".join(line for line in options if "null" not in line))
    assert shown_values("--config", str(file))["port"] == ("9000", "file")
