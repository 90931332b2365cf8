"""A server with a stub engine serves, and restarts it, while its files are missing, empty, truncated or wrong."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.counting import samples
from tests.server.test_tls import Authority
from tests.serving import BIN, until
from tests.stub_engine.server import StubServer

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"
PROMPT = {"prompt": "1 2 3", "max_tokens": 2}


class Rig:
    """A server with HTTPS, an API key file, a log file and a configuration file."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(f"{FIRST}\n")
        self.authority = Authority()
        settings = self.authority.certify(folder)
        assert settings.ssl_certfile is not None and settings.ssl_keyfile is not None
        self.certfile, self.keyfile = settings.ssl_certfile, settings.ssl_keyfile
        self.log_file = folder / "logs" / "log"
        self.config = folder / "config.yaml"
        self.config.write_text("max_body_mb: 2\n")
        certificate = ("--ssl-certfile", self.certfile, "--ssl-keyfile", self.keyfile)
        options = ("--api-key-file", self.keys, "--log-file", self.log_file, "--config", self.config, *certificate)
        self.server = StubServer(folder, "--max-restarts", "1000", *map(str, options))

    def ask(self, path: str, key: str = "", body: object = None, authority: Authority | None = None) -> httpx.Response:
        """Send a request on a new connection, which receives the current certificate."""
        with httpx.Client(verify=(authority or self.authority).trusted, timeout=30, follow_redirects=True) as client:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            url = f"https://127.0.0.1:{self.server.port}{path}"
            return client.request("GET" if body is None else "POST", url, headers=headers, json=body)

    def generates(self, key: str) -> int:
        return self.ask("/generate", key, PROMPT).status_code

    def shows(self, authority: Authority) -> bool:
        """Whether the server's certificate is signed by this authority."""
        try:
            return self.ask("/", FIRST, authority=authority).status_code == 200
        except httpx.ConnectError:
            return False

    @property
    def problems(self) -> list[str]:
        status: dict[str, Any] = self.ask("/readyz").json()
        return list(status.get("problems", []))

    def usable(self, key: str) -> dict[str, float]:
        """The value of maritalk_file_usable for each file."""
        text = self.ask("/metrics", key).text
        return {dict(labels)["file"]: value for (name, labels), value in samples(text).items() if name == USABLE}

    def expect(self, usable: Mapping[str, float]) -> None:
        """Assert that the server generates, checks keys, and reports these files as unusable."""
        assert self.generates(FIRST) == 200
        assert self.generates("wrong") == 401
        until(lambda: self.usable(FIRST) == {**IN_ORDER, **usable}, "all problems are reported")

    @property
    def temporary_folder(self) -> Path:
        environment = Path(f"/proc/{self.server.fork_server}/environ").read_bytes().split(b"\0")
        (folder,) = (each[7:].decode() for each in environment if each.startswith(b"TMPDIR="))
        return Path(folder)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def kill_engine(self) -> None:
        """Kill the engine, and wait until the next one is ready."""
        times = self.server.stdout.read_text().count("Listening on https://")
        os.kill(self.server.engine, signal.SIGKILL)
        self.server.wait_for_text("Listening on https://", times + 1)


USABLE = "maritalk_file_usable"
IN_ORDER = {"api_keys": 1, "certificate": 1, "log": 1, "config": 1, "temporary_folder": 1, "model": 1}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("server"))
    with rig.server:
        rig.server.wait_for_text("Listening on https://", 1)
        yield rig


def remove(file: Path) -> None:
    file.unlink()


def corrupt(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xff\xfe")


@pytest.mark.parametrize("spoil", [remove, corrupt])
def test_files_that_become_unusable_do_not_stop_the_server(rig: Rig, spoil: Callable[[Path], None]) -> None:
    """Not its restart either, even with the log on a full disk. Repaired files are read again."""
    files = (rig.keys, rig.certfile, rig.keyfile)
    good = [file.read_bytes() for file in files]
    temporary = rig.temporary_folder
    spoil(rig.keys)
    shutil.rmtree(temporary)
    if spoil is corrupt:
        temporary.write_text("a file in its place")
    shutil.rmtree(rig.server.folder / "cache")
    count = 3 if spoil is corrupt else 2
    until(lambda: len(rig.problems) == count, "the problems are reported")
    assert temporary.exists()
    reason = f"keys that were read before stay valid. The API keys in {rig.keys} cannot be read"
    until(lambda: reason in rig.log, "the reason is logged")
    rig.log_file.unlink()
    rig.log_file.symlink_to("/dev/full")
    until(lambda: "/dev/full" in _open_files(rig.server.process.pid), "the log is on a full disk")
    spoil(rig.certfile)
    spoil(rig.keyfile)
    unusable = {"api_keys": 0, "certificate": 0, "log": 0}
    rig.expect({**unusable, "model": 0, "temporary_folder": 3 - count})
    rig.kill_engine()
    rig.expect(unusable)
    assert (rig.temporary_folder == temporary) == (spoil is remove)
    for file, content in zip(files, good, strict=True):
        file.write_bytes(content)
    rig.log_file.unlink()
    until(lambda: rig.problems == [], "no problem any more")
    assert rig.usable(FIRST) == IN_ORDER
    assert "bytes of this log were lost" in rig.log


def test_a_renewed_certificate_is_used_once_its_key_matches(rig: Rig) -> None:
    new, old_key = Authority(), rig.keyfile.read_bytes()
    new.certify(rig.certfile.parent)
    new_key = rig.keyfile.read_bytes()
    rig.keyfile.write_bytes(old_key)
    until(lambda: rig.problems, "the pair does not match")
    assert rig.generates(FIRST) == 200
    rig.keyfile.write_bytes(new_key)
    until(lambda: rig.shows(new), "the pair matches")
    rig.authority = new
    assert rig.problems == []


def test_an_empty_key_file_revokes_all_keys(rig: Rig) -> None:
    """Also for the next engine, and requests without a key are still rejected."""
    rig.keys.write_text("")
    until(lambda: rig.problems, "the problem is reported")
    assert [rig.generates(key) for key in (FIRST, SECOND, "")] == [401] * 3
    rig.keys.unlink()
    rig.kill_engine()
    assert [rig.generates(key) for key in (FIRST, SECOND, "")] == [401] * 3
    rig.keys.write_text(f"{SECOND}\n")
    until(lambda: rig.generates(SECOND) == 200, "the new key is valid")
    assert rig.generates(FIRST) == 401
    rig.keys.write_text(f"{FIRST}\n")
    until(lambda: rig.generates(FIRST) == 200, "the first key is valid again")
    assert not any(key in rig.log for key in (FIRST, SECOND))


def send_sighup(rig: Rig) -> None:
    """Send SIGHUP, and wait until the server has reloaded."""
    reloads = rig.log.count("read again on SIGHUP")
    rig.server.process.send_signal(signal.SIGHUP)
    until(lambda: rig.log.count("read again on SIGHUP") > reloads, "SIGHUP is handled")


def test_sighup_reloads_the_configuration(rig: Rig) -> None:
    """In-flight requests continue; an invalid configuration file changes nothing."""
    large = {**PROMPT, "padding": "x" * 1_500_000}
    assert rig.ask("/generate", FIRST, large).status_code != 413
    rig.config.write_text("max_body_mb: 1\nhost: 127.0.0.1\nrequests_per_minute: 1000\n")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(rig.ask, "/generate", FIRST, {**PROMPT, "max_tokens": 150})
        until(lambda: rig.ask("/", FIRST).json() == {"status": "busy"}, "a request in flight")
        rig.keys.write_text(f"{SECOND}\n")
        send_sighup(rig)
        until(lambda: rig.generates(SECOND) == 200, "the new key is valid")
        assert running.result().status_code == 200
    until(lambda: rig.ask("/generate", SECOND, large).status_code == 413, "the new limit holds")
    until(lambda: "to these options take effect at the next start: --host." in rig.log, "the rest is logged")
    for spoilt in ("max_body_mb: many\n", "max_bodymb: 2\n", "[", "max_body_mb: 0"):
        rig.config.write_text(spoilt)
        send_sighup(rig)
        assert any("configuration file" in problem for problem in rig.problems)
        assert rig.ask("/generate", SECOND, large).status_code == 413
    rig.config.unlink()
    send_sighup(rig)
    assert any("configuration file" in problem for problem in rig.problems)
    rig.config.write_text("max_body_mb: 2\n")
    rig.keys.write_text(f"{FIRST}\n")
    send_sighup(rig)
    until(lambda: rig.ask("/generate", FIRST, large).status_code != 413, "the old limit holds")
    assert rig.problems == []
    assert rig.server.process.poll() is None


def test_the_command_reload_has_the_result(rig: Rig) -> None:
    """The server speaks HTTPS and requires keys, and /readyz shows what the reload could not use."""
    command = [str(BIN / "maritalk-vllm"), "reload", "--port", str(rig.server.port)]
    rig.config.write_text("max_bodymb: 2\n")
    failed = subprocess.run(command, capture_output=True, text=True)
    rig.config.write_text("max_body_mb: 2\n")
    succeeded = subprocess.run(command, capture_output=True, text=True)
    assert (failed.returncode, succeeded.returncode) == (1, 0), (failed, succeeded)
    assert "The configuration file cannot be used: " in failed.stderr
    assert succeeded.stdout.endswith(", has reloaded its files.\n")
    assert "All files were read again on SIGHUP. Not applied: configuration.\n" in rig.log
    assert rig.problems == []


def test_a_removed_or_rotated_log_is_created_again(rig: Rig) -> None:
    """After its folder is removed, and after it is renamed; the supervisor writes to the new file."""
    shutil.rmtree(rig.log_file.parent)
    until(rig.log_file.exists, "made again")
    assert rig.log_file.stat().st_mode & 0o777 == 0o600
    rig.log_file.rename(rig.log_file.with_name("rotated"))
    until(rig.log_file.exists, "made again")
    rig.keys.write_text("short\n")
    until(lambda: "16 characters" in rig.log, "a line of the supervisor's")
    rig.keys.write_text(f"{FIRST}\n")
    until(lambda: rig.generates(FIRST) == 200, "the first key is valid again")
    assert rig.problems == []


def _open_files(pid: int) -> list[str]:
    return [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
