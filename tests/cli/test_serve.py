"""`maritalk-serve` on the command line: usage errors, with one line and an exit code each."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from maritalk_vllm import __version__
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.answering import Request, answering
from tests.commands import run
from tests.service_manager import service_manager
from tests.vllm_build import needs_cpu_build

pytestmark = pytest.mark.core

LICENSED = ["--license", EVALUATION_KEY]


def serve(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-serve", *arguments, env={**os.environ, **environment})


@needs_cpu_build
@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["--prot", "9001"], 2, "--port"),
        (["--port", "nine"], 2, "--port"),
        (["--port", "70000"], 2, "65535"),
        (["--device", "tpu"], 2, "'auto', 'cuda', 'cpu'"),
        (["--time-unit", "us"], 2, "'ms', 's'"),
        (["--max-model-len", "0"], 2, "1"),
        (["mediun"], 2, "There is no model mediun"),
        (["small", "extra"], 2, "Unexpected argument: extra."),
        (["small", "--model", "medium"], 2, "Two models are named: small and medium."),
        ([*LICENSED, "small"], 4, "24 GB"),
        (["--config", "/nowhere.yaml"], 2, "/nowhere.yaml"),
        ([], 2, "--license"),
        (["--model", "mediun"], 2, "medium"),
        ([*LICENSED, "--", "--port", "1"], 2, "before the `--`"),
        (["--license", "AAAAA-BBBBB-CCCCC-DDDDD"], 10, "cannot be asked about this key"),
        (["--model", "demo", "--replicas", "9999"], 5, "9999 workers"),
        ([*LICENSED, "--model", "small"], 4, "24 GB"),
        ([*LICENSED, "--model", "medium"], 4, "70 GB"),
        ([*LICENSED, "--model", "large", "--device", "cpu"], 4, "70 GB"),
        ([*LICENSED, "--device", "cuda"], 4, "--device cpu"),
        ([*LICENSED, "--", "--tensor_parallel_size=2"], 2, "use --tensor-parallel-size before the `--`"),
        ([*LICENSED, "--replicas", "many"], 2, "auto"),
        ([*LICENSED, "--tensor-parallel-size", "2"], 5, "9 attention heads"),
        ([*LICENSED, "--replicas", "9999"], 5, "9999 workers"),
        (["--model", "."], 6, "config.json"),
        ([*LICENSED, "--host", "999.1.1.1"], 8, "999.1.1.1"),
        ([*LICENSED, "--host", "192.0.2.1"], 8, "192.0.2.1"),
    ],
)
def test_usage_errors(arguments: list[str], exit_code: int, says: str) -> None:
    result = serve(*arguments)
    assert result.returncode == exit_code
    assert result.stdout == ""
    assert result.stderr.startswith("maritalk-serve: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@needs_cpu_build
def test_a_port_in_use() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        result = serve(*LICENSED, "--port", str(port))
    assert result.returncode == 8
    assert f"Port {port} is in use" in result.stderr
    assert result.stderr.count("\n") == 1


@needs_cpu_build
def test_unwritable_log_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    file = str(tmp_path / "file" / "log")
    result = serve(*LICENSED, "--port", "0", "--log-file", file, TMPDIR=str(tmp_path / "temporary"))
    assert result.returncode == 2
    assert list((tmp_path / "temporary").iterdir()) == []
    assert "log" in result.stderr
    assert result.stderr.count("\n") == 1


def test_debug_prints_the_traceback() -> None:
    assert "Traceback" in serve("--license", "AAAAA", "--debug").stderr
    assert "Traceback" in serve("--license", "AAAAA", MARITALK_DEBUG="1").stderr


def test_errors_do_not_quote_the_licence() -> None:
    result = serve("--license", "SECRET-12345", "--debug")
    assert "SECRET-12345" not in result.stdout + result.stderr


def test_version() -> None:
    for flag in ("--version", "-V"):
        assert serve(flag).stdout == f"maritalk-serve {__version__}\n"


def test_a_named_model_takes_precedence_over_the_environment() -> None:
    """Its error does not blame the variable, which was not used."""
    result = serve(*LICENSED, "small", MARITALK_MODEL="medium")
    assert "24 GB" in result.stderr and "MARITALK_MODEL" not in result.stderr


LIGHT = """
import sys
sys.argv = {argv!r}
from maritalk_vllm.cli.{module} import main
try:
    main()
finally:
    heavy = {{"torch", "vllm", "transformers", "numpy"}} & set(sys.modules)
    print("imported", len(heavy), *heavy, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        ("serve", ["maritalk-serve", "--help"]),
        ("serve", ["maritalk-serve", "--version"]),
        ("serve", ["maritalk-serve", *LICENSED, "--model", "small"]),
        ("tools_app", ["maritalk-vllm", "config", "show"]),
        ("tools_app", ["maritalk-vllm", "plan", "--json"]),
        ("tools_app", ["maritalk-vllm", "plan", "--model", "medium", "--suggest"]),
        ("tools_app", ["maritalk-vllm", "doctor"]),
        ("serve", ["maritalk-serve", *LICENSED, "--dry-run", "--port", "0"]),
    ],
)
def test_light_imports(module: str, argv: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIGHT.format(argv=argv, module=module)], capture_output=True, text=True
    )
    assert result.stderr.splitlines()[-1] == "imported 0"


def test_supervisor_does_not_import_vllm() -> None:
    """The process that serves HTTP while vLLM is imported must not import it itself."""
    code = "import sys, maritalk_vllm.server.supervisor; print({'torch', 'vllm', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_under_systemd_it_retries_the_licence_service(tmp_path: Path) -> None:
    """The network may come up later, and systemd gives up on a service that exits repeatedly."""
    answers = iter((503, 503, 401))

    def answer(request: Request) -> None:
        request.reply(next(answers), b'{"error": "unknown"}', content_type="application/json")

    with answering(answer) as service, service_manager(f"{tmp_path}/notify") as manager:
        options = ("--license", "AAAAA-BBBBB-CCCCC-DDDDD", "--license-service", service.url)
        cache = ("--cache-dir", str(tmp_path / "cache"))
        checked = serve(*options, *cache, "--dry-run")
        assert checked.returncode == 10
        result = serve(*options, *cache)
        assert manager.received() == [
            f"STATUS=The licence service {service.url} cannot be asked about this key: it answers 503."
        ]
    assert result.returncode == 3
    assert result.stderr.count("\n") == 2, result.stderr
    waited, refused = result.stderr.splitlines()
    assert waited.endswith("cannot be asked about this key: it answers 503. Asked again in 1 s.")
    assert "refuses this key: unknown" in refused
