"""Invalid paths: an error of one line that names the option or the model, and the exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from maritalk_vllm.cli import path_options, serve, tools_app
from maritalk_vllm.errors import UsageError, WeightsError
from maritalk_vllm.weights.model_folder import model_folder
from maritalk_vllm.weights.model_source import open_model
from tests.commands import run
from tests.serving import BIN
from tests.vllm_build import needs_cpu_build

LONG = "x" * 300
SENTENCES: list[tuple[str, type[Exception], str]] = [
    ("./nothere", UsageError, "There is no folder ./nothere."),
    ("./modle", UsageError, "Did you mean model?"),
    ("/nowhere/at/all", UsageError, "There is no folder /nowhere/at/all."),
    ("..//x/y", UsageError, "There is no folder ..//x/y."),
    ("nothere/", UsageError, "There is no folder nothere/."),
    ("~no-such-user/x", UsageError, "this machine has no user no-such-user."),
    (LONG, UsageError, "File name too long."),
    (f"a/{LONG}", UsageError, "no model of Hugging Face can have it"),
    (f"a/{'x' * 97}", UsageError, "no model of Hugging Face can have it"),
    ("a--b/c", UsageError, "no model of Hugging Face can have it"),
    ("a/.b", UsageError, "no model of Hugging Face can have it"),
    ("", UsageError, "is empty"),
    ("a\0b", UsageError, "NUL"),
    ("nothere.gguf", UsageError, "There is no folder nothere.gguf."),
    ("model.gguf/x", UsageError, "one of the folders on the way is a file"),
    ("./model.gguf", WeightsError, "What is served is a folder with config.json and *.safetensors, or a model of"),
    ("model/weights.bin", WeightsError, "Give its folder: --model model."),
    ("loop", WeightsError, "Too many levels of symbolic links."),
    ("quantised", WeightsError, "Its GGUF files are not served. What is served is a folder with config.json"),
    ("empty", WeightsError, "holds no model: it has no config.json."),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, and with folders that only look like one."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for name in ("model", "empty", "quantised"):
        (tmp_path / name).mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "model/weights.bin").touch()
    (tmp_path / "quantised/model-Q4.gguf").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.parametrize(("model", "kind", "says"), SENTENCES, ids=[each[0][:20] or "empty" for each in SENTENCES])
def test_missing_model(model: str, kind: type[Exception], says: str, folder: Path) -> None:
    with pytest.raises(kind) as raised:
        open_model(model)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 400


def test_existing_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    for model in ("model", "./model", "model/", "~/model", str(folder / "model")):
        source = open_model(model)
        assert (source.name, source.location) == ("model", str(folder / "model"))
    assert model_folder("owner/name") is None


@pytest.mark.parametrize("command", [["maritalk-serve"], *(["maritalk-vllm", each] for each in ("plan", "download"))])
def test_all_commands_report_the_same_error(command: list[str], folder: Path) -> None:
    for model, exit_code in (("./nothere", 2), ("./model.gguf", 6)):
        result = run(*command, "--model", model)
        assert (result.returncode, result.stderr.count("\n")) == (exit_code, 1), result.stderr


@needs_cpu_build
def test_doctor_continues_after_a_missing_model(folder: Path) -> None:
    for model, exit_code in (("./nothere", 2), ("./model.gguf", 6)):
        result = run("maritalk-vllm", "doctor", "--model", model, "--port", "0")
        assert (result.returncode, result.stderr) == (exit_code, "")
        assert "✗ model" in result.stdout
        assert "✓ port" in result.stdout


CLOSED = """
import os, sys
from maritalk_vllm.errors import MariTalkError
from maritalk_vllm.weights.model_source import open_model
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for model in sys.argv[1:]:
    try:
        open_model(model)
    except MariTalkError as error:
        print(type(error).__name__, str(error))
"""


def test_inaccessible_folder(tmp_path: Path) -> None:
    """Also as root, which drops its privileges first."""
    closed = tmp_path / "closed"
    (closed / "model").mkdir(parents=True)
    (closed / "model/config.json").write_text("{}")
    closed.chmod(0)
    try:
        command = [sys.executable, "-c", CLOSED, str(closed), str(closed / "model")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    finally:
        closed.chmod(0o700)
    assert said == [
        f"WeightsError The model {path} cannot be read: Permission denied." for path in (closed, closed / "model")
    ]


def commands(command: Any = None) -> list[Any]:
    if command is None:
        return [*commands(get_command(serve.app)), *commands(get_command(tools_app.app))]
    return [command, *(each for below in getattr(command, "commands", {}).values() for each in commands(below))]


def test_every_path_option_has_the_callback() -> None:
    """`~` is expanded and errors name the option, wherever a command takes a path."""
    found = {
        (command.name, each.name): each
        for command in commands()
        for each in command.params
        if "Path" in str(each.type_descriptor.annotation)
    }
    assert {("plan", "log_file"), ("chat", "cacert"), ("add-weights", "file"), ("bench", "out")} <= found.keys()
    ctx = typer.Context(get_command(serve.app))
    for name, option in found.items():
        several = "list" in str(option.type_descriptor.annotation)
        given = Path("~no-such-user/x")
        with pytest.raises(typer.BadParameter, match="no user no-such-user"):
            option.callback(ctx, option, [given] if several else given)
        assert option.callback(ctx, option, None) is None, name


def test_invalid_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "loop").symlink_to("loop")
    context, parameter = typer.Context(get_command(serve.app)), get_command(serve.app).params[0]

    def checked(value: Any) -> Any:
        return path_options.checked(context, parameter, value)  # type: ignore[arg-type]

    assert checked(Path("~/a")) == tmp_path / "a"
    assert checked([Path("~"), Path("b")]) == [tmp_path, Path("b")]
    for path, says in ((LONG, "File name too long"), ("~/loop", "symbolic links"), ("a\0b", "NUL")):
        with pytest.raises(typer.BadParameter, match=says):
            checked(Path(path))


@pytest.mark.parametrize("option", ["config", "log-file", "cache-dir", "api-key-file", "ssl-keyfile"])
def test_path_that_is_too_long(option: str) -> None:
    for command in (["maritalk-serve", "--dry-run"], ["maritalk-vllm", "doctor"], ["maritalk-vllm", "plan"]):
        result = run(*command, f"--{option}={LONG}")
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert f"--{option}" in result.stderr
        assert "File name too long" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([b"--model", b"./\xff"], {}, "The value of --model is no text"),
        ([b"--model=\xe9"], {}, "The value of --model is no text"),
        ([b"--license", b"SECRET\xff"], {}, "The value of --license is no text"),
        ([b"\xff"], {}, "Argument 1 is no text"),
        ([], {b"MARITALK_CACHE_DIR": b"/\xff"}, "The value of MARITALK_CACHE_DIR is no text"),
    ],
)
def test_arguments_that_are_not_utf8(arguments: list[bytes], environment: dict[bytes, bytes], says: str) -> None:
    command = [os.fsencode(BIN / "maritalk-serve"), *arguments]
    result = subprocess.run(command, capture_output=True, env={**os.environb, **environment})
    assert result.returncode == 2
    assert says.encode() in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert b"SECRET" not in result.stderr
