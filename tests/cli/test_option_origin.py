"""Values from a file and from the environment, and errors that name their origin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maritalk_vllm.cli import environment_variables, token_counts
from maritalk_vllm.cli.config_file import read_config
from maritalk_vllm.errors import UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.cli.test_config import run_tool, shown_values
from tests.commands import run
from tests.vllm_build import needs_cpu_build


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "maritalk.yaml"


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        # YAML 1.1 would parse them as: 9, 9.0, 1350, 12.1, False, a date, 1000.0, None, 10.
        ("port: 011", "port", "11"),
        ("port: 09000", "port", "9000"),
        ("host: 10:30", "host", "10:30"),
        ("cuda_version: 12.10", "cuda_version", "12.10"),
        ("model: no", "model", "no"),
        ("model: 2026-11-29", "model", "2026-11-29"),
        ("model: 1e3", "model", "1e3"),
        ("model: 'null'", "model", "null"),
        ("model: 0b1010", "model", "0b1010"),
        ("replicas: 010", "replicas", "010"),
        ("no_access_log: yes", "no_access_log", "true"),
        ("no-access-log: off", "no_access_log", "false"),
        ("drain-timeout: 1_0", "drain_timeout", "10"),
        ("gpu_memory_utilization: .5", "gpu_memory_utilization", "0.5"),
        ("model: null", "model", "-"),
        ("model:", "model", "-"),
        ("engine_args: --seed 3 --served-model-name 'a b'", "engine_args", "--seed 3 --served-model-name a b"),
        ("engine_args: [--seed, 03]", "engine_args", "--seed 03"),
        ("license_public_key: /a.pub", "license_public_key", "/a.pub"),
        ("license_public_key: [/a.pub, /b.pub]", "license_public_key", "/a.pub /b.pub"),
        ("max_model_len: 8k", "max_model_len", "8000"),
        ("max_model_len: 1.048576e+06", "max_model_len", "1048576"),
        ("max_model_len: auto", "max_model_len", "-"),
        ("\ufeffport: 1", "port", "1"),
    ],
)
def test_values_are_read_as_text(file: Path, line: str, option: str, value: str) -> None:
    file.write_text(f"{line}\n", encoding="utf-8")
    assert shown_values("--config", str(file))[option][0] == value


def test_single_and_repeated_values(file: Path) -> None:
    for written, values in (("abc", ["abc"]), ("0x10", ["0x10"]), ("[1_000, 'b c']", ["1_000", "b c"])):
        file.write_text(f"api_key: {written}\n")
        assert read_config(file).values == {"api_key": values}


def test_tilde_is_expanded_in_every_path(file: Path, tmp_path: Path) -> None:
    options = ("license_public_key", "api_key_file", "ssl_certfile", "ssl_keyfile", "cache_dir", "log_file")
    file.write_text("".join(f"{option}: ~/{option}\n" for option in options))
    rows = shown_values("--config", str(file), HOME=str(tmp_path))
    assert [rows[option][0] for option in options] == [f"{tmp_path}/{option}" for option in options]
    rows = shown_values(HOME=str(tmp_path), **{f"MARITALK_{option.upper()}": f"~/{option}" for option in options})
    assert [rows[option][0] for option in options] == [f"{tmp_path}/{option}" for option in options]
    assert shown_values(HOME=str(tmp_path), MARITALK_CONFIG="~/maritalk.yaml")["log_file"] == (
        f"{tmp_path}/log_file",
        "file",
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: 1\n", "The configuration file FILE has an unknown option in line 1: a. Known: "),
        ("\n\nprot: 1\n", "The configuration file FILE has an unknown option in line 3: prot. Did you mean port?"),
        ("port: 1\nport: 2\n", "port in line 2 of FILE was given before, in line 1. Leave one of them out."),
        ("time-unit: s\ntime_unit: s\n", "time_unit in line 2 of FILE was given before, in line 1."),
        ("port: [1]\n", "port in line 1 of FILE is a list, and this option has one value."),
        ("port: {a: 1}\n", "port in line 1 of FILE is no value of an option."),
        ("api_key: [[a]]\n", "api_key in line 1 of FILE is no value of an option."),
        ("api_key: &a [*a]\n", "api_key in line 1 of FILE is no value of an option."),
        ("? [a]\n: 1\n", "The configuration file FILE has no name of an option in line 1."),
        ("engine_args: --a 'b\n", "engine_args in line 1 of FILE has a quotation mark without its counterpart."),
        ("port: 1\nhost: a: b\n", "The configuration file FILE cannot be read: line 2: mapping values are not allowed"),
        ("[" * 5000, "The configuration file FILE cannot be read: its values are nested too deeply."),
        ("a: 1\n---\nb: 2\n", "The configuration file FILE cannot be read: line 2: but found another document."),
        ("a: *b\n", "The configuration file FILE cannot be read: line 1: found undefined alias 'b'."),
    ],
)
def test_unusable_config_file(file: Path, content: str, says: str) -> None:
    file.write_text(content)
    with pytest.raises(UsageError) as raised:
        read_config(file)
    assert str(raised.value).startswith(says.replace("FILE", str(file)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "\nport: 22:30\n",
            "Invalid value for port in line 2 of FILE, which is '22:30': Input should be a valid integer, "
            "unable to parse string as an integer. Try `maritalk-vllm config show --help`.",
        ),
        ("device: no\n", "Invalid value for device in line 1 of FILE, which is 'no': 'no' is not one of 'auto',"),
        ("debug: maybe\n", "Invalid value for debug in line 1 of FILE, which is 'maybe': Input should be a valid bool"),
        ("max-restarts: -1\n", "Invalid value for max-restarts in line 1 of FILE, which is '-1': Input should be gre"),
        ("log_file: ~no-such-user/x\n", "Invalid value for log_file in line 1 of FILE, which is '~no-such-user/x': th"),
        ("max_model_len: 8q\n", "Invalid value for max_model_len in line 1 of FILE, which is '8q': '8q' is no number"),
        ("engine_args: x\n", "Unexpected argument: x (engine_args in line 1 of FILE)."),
    ],
)
def test_invalid_value_is_reported_with_its_line(file: Path, content: str, says: str) -> None:
    file.write_text(content)
    result = run_tool("config", "show", "--config", str(file))
    assert result.returncode == 2
    assert result.stderr.startswith(f"maritalk-vllm: {says}".replace("FILE", str(file)))
    assert result.stderr.count("\n") == 1
    assert "env var" not in result.stderr


def test_startup_error_is_reported_with_the_line(file: Path) -> None:
    for content, option in (("replicas: many", "replicas"), ("nodes: 2", "nodes"), ("model: ./nothere", "model")):
        file.write_text(f"# mine\n{content}\n")
        result = run("maritalk-serve", "--license", EVALUATION_KEY, "--dry-run", "--config", file)
        assert result.returncode == 2
        assert result.stderr.endswith(f" --{option} is set by {option} in line 2 of {file}.\n"), result.stderr


def test_doctor_reports_the_line(file: Path) -> None:
    file.write_text("port: 0\nnodes: 2\nmodel: ./nothere\n")
    said = run_tool("doctor", "--config", str(file)).stdout
    assert f" --model is set by model in line 3 of {file}.\n" in said
    assert f" --nodes is set by nodes in line 2 of {file}.\n" in said


def test_invalid_environment_value_is_reported_with_its_variable() -> None:
    result = run_tool("config", "show", MARITALK_DEVICE="gpu")
    assert result.returncode == 2
    assert result.stderr.startswith(
        "maritalk-vllm: Invalid value for MARITALK_DEVICE in the environment, which is 'gpu': 'gpu' is not one of "
    )
    assert "--device" not in result.stderr
    assert run_tool("plan", MARITALK_MODEL="./nope").stderr.endswith(" --model is set by MARITALK_MODEL.\n")
    result = run_tool("config", "show", "--device", "gpu")
    assert result.stderr.startswith("maritalk-vllm: Invalid value for --device: 'gpu' is not one of ")


def test_service_variables_of_kubernetes() -> None:
    result = run_tool("config", "show", MARITALK_PORT="tcp://10.0.0.1:80", MARITALK_SERVICE_HOST="10.0.0.1")
    assert result.returncode == 2
    assert result.stderr == (
        "maritalk-vllm: Invalid value for MARITALK_PORT in the environment, which is 'tcp://10.0.0.1:80': "
        "Input should be a valid integer, unable to parse string as an integer. Kubernetes sets it for a Service of "
        "this name. Set enableServiceLinks: false in the pod, or give the Service another name.\n"
    )


@needs_cpu_build
def test_unknown_variable_causes_a_warning() -> None:
    of_kubernetes = {
        "MARITALK_PORT_9000_TCP": "tcp://10.0.0.1:9000",
        "MARITALK_PORT_9000_TCP_ADDR": "10.0.0.1",
        "MARITALK_SERVICE_PORT_HTTP": "9000",
        "MARITALK_VLLM_SERVICE_HOST": "10.0.0.1",
        "MARITALK_VLLM_PORT": "tcp://10.0.0.1:9000",
    }
    assert environment_variables.unknown({**of_kubernetes, "MARITALK_HTTP_PORT": "9000"}) == ["MARITALK_HTTP_PORT"]
    assert environment_variables.unknown(dict.fromkeys(environment_variables.KNOWN, "1")) == []
    names = {"MARITALK_PROT": "1", "MARITALK_MAX_LEN": "2", "MARITALK_ZZZ": "SECRET"}
    for command in (["config", "show"], ["plan", "--model", "demo"]):
        result = run_tool(*command, **names, **of_kubernetes)
        assert result.returncode == 0
        assert result.stderr.splitlines() == [
            "Warning: MARITALK_MAX_LEN in the environment is no option. Did you mean MARITALK_MAX_MODEL_LEN?",
            "Warning: MARITALK_PROT in the environment is no option. Did you mean MARITALK_PORT?",
            "Warning: MARITALK_ZZZ in the environment is no option. `maritalk-vllm config example` lists them.",
        ]


def test_errors_do_not_quote_secrets(file: Path) -> None:
    file.write_text("api_key: [SECRET, {SECRET: 1}]\nlicense: [SECRET]\n")
    result = run_tool("config", "show", "--config", str(file), MARITALK_API_KEY="SECRET")
    assert result.returncode == 2
    assert "SECRET" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("8000", 8000),
        ("8k", 8000),
        ("8K", 8192),
        ("25.6k", 25_600),
        ("1.001k", 1001),
        ("1m", 10**6),
        ("1M", 2**20),
        ("1g", 10**9),
        ("2G", 2**31),
        ("1t", 10**12),
        ("1T", 2**40),
        (" 011 ", 11),
        ("1e+06", 10**6),
        ("1.31072e+06", 1_310_720),
    ],
)
def test_token_counts(written: str, number: int) -> None:
    assert token_counts.tokens(written) == number


@pytest.mark.parametrize(
    "written", ["", "k", "8kk", "8 k", "1.5K", "1.5", "-8k", "8e", "0x10", "1e99", "nan", "1e-3", "٣"]
)
def test_invalid_token_counts(written: str) -> None:
    with pytest.raises(ValueError, match=r"tokens|fraction"):
        token_counts.tokens(written)


@pytest.mark.engine
def test_token_counts_equal_vllms_parser() -> None:
    """In a child process, because vLLM's parser imports torch."""
    program = """
import sys
from vllm.utils.argparse_utils import human_readable_int, human_readable_int_or_auto
from maritalk_vllm.cli.token_counts import or_auto, tokens
for written in ("8000", "8k", "8K", "25.6k", "0.5m", "1.1k", "2.3m", "1m", "1M", "3g", "3G", "2t", "2T", " 7 "):
    assert tokens(written) == human_readable_int(written), written
for written in ("auto", "AUTO", "-1"):
    assert (or_auto(written), human_readable_int_or_auto(written)) == (None, -1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"})
