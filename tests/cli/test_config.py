"""Options: where they come from and how they are shown."""

import os
import subprocess
from dataclasses import fields
from pathlib import Path

import yaml

from maritalk_vllm.settings import OPTIONS, Settings, environment_variable, flag
from tests.commands import run


def toolbox(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", *arguments, env={**os.environ, **environment})


def shown(*arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    result = toolbox("config", "show", *arguments, **environment)
    assert result.returncode == 0, result.stderr
    rows = (line.split(maxsplit=1) for line in result.stdout.splitlines())
    return {name: (rest.rpartition("  [")[0], rest.rpartition("[")[2].rstrip("]")) for name, rest in rows}


def test_file_then_environment_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 1111\nhost: 10.0.0.1\ntime-unit: s\nengine_args: [--seed, '3']\n")
    rows = shown("--config", str(file), "--port", "3333", MARITALK_PORT="2222", MARITALK_HOST="10.0.0.2")
    assert rows["port"] == ("3333", "flag")
    assert rows["host"] == ("10.0.0.2", "environment")
    assert rows["time_unit"] == ("s", "file")
    assert rows["engine_args"] == ("--seed 3", "file")
    assert rows["device"] == ("auto", "default")
    assert set(rows) == {field.name for field in fields(Settings)}
    assert shown(MARITALK_CONFIG=str(file))["port"] == ("1111", "file")


def test_a_secret_is_not_shown() -> None:
    assert "SECRET" not in toolbox("config", "show", MARITALK_LICENSE="SECRET").stdout
    assert shown(MARITALK_LICENSE="SECRET")["license"] == ("********", "environment")


def test_what_follows_two_dashes_is_for_vllm() -> None:
    assert shown("--", "--seed", "3")["engine_args"] == ("--seed 3", "flag")


def test_a_wrong_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for content, says in [
        ("prot: 1", "port"),
        ("port: nine", "nine"),
        ("- port", "name: value"),
        ("port: [", "cannot be read"),
        ("\udcff", "cannot be read"),
    ]:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
        result = toolbox("config", "show", "--config", str(file))
        assert result.returncode == 2, content
        assert result.stderr.count("\n") == 1, result.stderr
        assert says in result.stderr or "valid integer" in result.stderr


def test_every_option_has_its_flag_and_variable_in_the_help() -> None:
    text = run("maritalk-serve", "--help").stdout
    words = " ".join(text.split())
    for name in OPTIONS:
        if name != "engine_args":
            assert flag(name) in words
            assert environment_variable(name) in words


def test_the_example_names_every_option_and_is_a_valid_file(tmp_path: Path) -> None:
    example = toolbox("config", "example").stdout
    options = [line[2:] for line in example.splitlines() if line.startswith("# ") and line[2:].split(":")[0] in OPTIONS]
    assert set(yaml.safe_load("\n".join(options))) == set(OPTIONS)
    file = tmp_path / "config.yaml"
    file.write_text(example + "\n".join(line for line in options if "null" not in line))
    assert shown("--config", str(file))["port"] == ("9000", "file")
