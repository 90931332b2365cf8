"""No command prints a secret from flags, file or environment, or shows it in the process list."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run
from tests.serving import BIN, UNREACHABLE_URL

SECRET = "s3cr3t-v4lue"
DEMO = ("--license", "000000-00000-00000-00000", "--device", "cpu")
KEY = "ABCDE-FGHJK-MNPQR-STUVW"
FLAGS = (
    ["--hf-token", SECRET],
    [f"--hf-token={SECRET}"],
    ["--hf_token", SECRET],
    ["--ssl-keyfile-password", SECRET],
    ["--additional-config", f'{{"api_token": "{SECRET}"}}'],
    [f'--additional-config={{"a": {{"password": "{SECRET}"}}}}'],
    ["--kv-transfer-config.kv_connector_extra_config.secret_key", SECRET],
    ["--additional-config", f'{{"redis": "redis://user:{SECRET}@host/0"}}'],
    ["--additional-config", f'{{"api_token": "{SECRET}"'],
)


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_config_show(flags: list[str], tmp_path: Path) -> None:
    shown = run("maritalk-vllm", "config", "show", "--", *flags)
    assert (shown.returncode, SECRET in shown.stdout, "********" in shown.stdout) == (0, False, True), shown.stderr
    file = tmp_path / "config.yaml"
    file.write_text(f"engine_args: {flags!r}\n")
    shown = run("maritalk-vllm", "config", "show", "--config", str(file))
    assert (shown.returncode, SECRET in shown.stdout, "********" in shown.stdout) == (0, False, True), shown.stderr


@pytest.mark.parametrize("option", ["--license-service", "--otlp-traces-endpoint"])
@pytest.mark.parametrize("url", [f"http://user:{SECRET}@host/x", f"http://host/x?a=1&token={SECRET}"])
def test_config_show_masks_passwords_in_urls(option: str, url: str) -> None:
    shown = run("maritalk-vllm", "config", "show", option, url)
    assert (SECRET in shown.stdout, "http://" in shown.stdout) == (False, True)


def commands() -> Iterator[tuple[str, ...]]:
    service = UNREACHABLE_URL.replace("http://", f"http://user:{SECRET}@")
    for command in (("maritalk-serve", "--dry-run"), ("maritalk-vllm", "doctor"), ("maritalk-vllm", "plan")):
        yield (*command, *DEMO, "--", "--hf-token", SECRET, "--additional-config", f'{{"token": "{SECRET}"}}')
        yield (*command, *DEMO, "--", f"--hf-tokn={SECRET}")
        yield (*command, *DEMO, "--debug", "--", "--hf-token", SECRET, "--chat-template", f"./{SECRET}")
        yield (*command, "--license", KEY, "--license-service", service)
    for command in (("plan", "--json"), ("doctor", "--json")):
        yield ("maritalk-vllm", *command, *DEMO, "--", "--hf-token", SECRET, "--chat-template", f"./{SECRET}")
        yield ("maritalk-vllm", *command, "--license", KEY, "--license-service", service)
    yield ("maritalk-vllm", "download", "--license", KEY, "--license-service", service)
    yield ("maritalk-vllm", "license", "inspect", KEY, "--license-service", service)


@pytest.mark.parametrize("command", list(commands()), ids=lambda command: " ".join(command).replace(SECRET, ""))
def test_output_has_no_secret(command: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(*command, env={"MARITALK_CACHE_DIR": str(tmp_path), "HF_TOKEN": SECRET})
    assert f"{ended.stdout}{ended.stderr}".strip()
    assert SECRET not in f"{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_process_list_has_no_secret(command: str, tmp_path: Path) -> None:
    """While the command waits for a licence service that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = ("--license", KEY, "--license-service", f"http://127.0.0.1:{silent.getsockname()[1]}")
        asked = [str(BIN / "maritalk-vllm"), command, *given, "--cache-dir", str(tmp_path), "--", "--hf-token", SECRET]
        with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                silent.settimeout(30)
                silent.accept()[0].close()
                listed = (Path("/proc") / str(process.pid) / "cmdline").read_bytes().decode()
            finally:
                process.kill()
    assert "maritalk-vllm" in listed
    assert (SECRET in listed, KEY in listed) == (False, False)
