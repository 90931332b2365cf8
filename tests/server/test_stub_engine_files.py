"""A stub engine is killed, and started again, while what the server was started from is gone, empty, half or wrong."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.counting import samples
from tests.server.test_tls import Authority
from tests.serving import until
from tests.stub_engine.server import StubServer

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"
PROMPT = {"prompt": "1 2 3", "max_tokens": 2}


class Rig:
    """A server that serves HTTPS with keys in a file."""

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
        """On a connection of its own, so that each sees the certificate as it is now."""
        with httpx.Client(verify=(authority or self.authority).trusted, timeout=30, follow_redirects=True) as client:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            url = f"https://127.0.0.1:{self.server.port}{path}"
            return client.request("GET" if body is None else "POST", url, headers=headers, json=body)

    def generates(self, key: str) -> int:
        return self.ask("/generate", key, PROMPT).status_code

    def shows(self, authority: Authority) -> bool:
        """Whether the certificate is one of this authority's."""
        try:
            return self.ask("/", FIRST, authority=authority).status_code == 200
        except httpx.ConnectError:
            return False

    @property
    def problems(self) -> list[str]:
        told: dict[str, Any] = self.ask("/readyz").json()
        return list(told.get("problems", []))

    def usable(self, key: str) -> dict[str, float]:
        """What the metric says of each file."""
        text = self.ask("/metrics", key).text
        return {dict(labels)["file"]: value for (name, labels), value in samples(text).items() if name == USABLE}

    def expect(self, usable: Mapping[str, float]) -> None:
        """That it serves, and that what is not in order is told."""
        assert self.generates(FIRST) == 200
        assert self.generates("wrong") == 401
        until(lambda: self.usable(FIRST) == {**IN_ORDER, **usable}, "all problems are told")

    @property
    def temporary_folder(self) -> Path:
        environment = Path(f"/proc/{self.server.fork_server}/environ").read_bytes().split(b"\0")
        (folder,) = (each[7:].decode() for each in environment if each.startswith(b"TMPDIR="))
        return Path(folder)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def kill_engine(self) -> None:
        """Until the next one answers."""
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


def gone(file: Path) -> None:
    file.unlink()


def half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xff\xfe")


@pytest.mark.parametrize("spoil", [gone, half])
def test_what_was_read_last_is_enough(rig: Rig, spoil: Callable[[Path], None]) -> None:
    """While it serves, and for the next engine, with a full disk for the log; then what is good again is taken over."""
    files = (rig.keys, rig.certfile, rig.keyfile)
    good = [file.read_bytes() for file in files]
    temporary = rig.temporary_folder
    spoil(rig.keys)
    shutil.rmtree(temporary)
    if spoil is half:
        temporary.write_text("a file in its place")
    shutil.rmtree(rig.server.folder / "cache")
    told = 3 if spoil is half else 2
    until(lambda: len(rig.problems) == told, "the problems are told")
    assert temporary.exists()
    assert f"keys that were read before stay valid. The API keys in {rig.keys} cannot be read" in rig.log
    rig.log_file.unlink()
    rig.log_file.symlink_to("/dev/full")
    until(lambda: "/dev/full" in _open_files(rig.server.process.pid), "the log is on a full disk")
    spoil(rig.certfile)
    spoil(rig.keyfile)
    lost = {"api_keys": 0, "certificate": 0, "log": 0}
    rig.expect({**lost, "model": 0, "temporary_folder": 3 - told})
    rig.kill_engine()
    rig.expect(lost)
    assert (rig.temporary_folder == temporary) == (spoil is gone)
    for file, content in zip(files, good, strict=True):
        file.write_bytes(content)
    rig.log_file.unlink()
    until(lambda: rig.problems == [], "no problem any more")
    assert rig.usable(FIRST) == IN_ORDER
    assert "bytes of this log were lost" in rig.log


def test_a_certificate_is_renewed_before_its_key(rig: Rig) -> None:
    new, old_key = Authority(), rig.keyfile.read_bytes()
    new.certify(rig.certfile.parent)
    new_key = rig.keyfile.read_bytes()
    rig.keyfile.write_bytes(old_key)
    until(lambda: rig.problems, "the pair does not fit")
    assert rig.generates(FIRST) == 200
    rig.keyfile.write_bytes(new_key)
    until(lambda: rig.shows(new), "the pair fits")
    rig.authority = new
    assert rig.problems == []


def test_the_last_key_is_revoked(rig: Rig) -> None:
    """By a file that is empty; nothing brings it back, not even another engine, and nobody comes in without one."""
    rig.keys.write_text("")
    until(lambda: rig.problems, "it is told")
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


def hang_up(rig: Rig) -> None:
    """SIGHUP, until it was heard."""
    heard = rig.log.count("read again on SIGHUP")
    rig.server.process.send_signal(signal.SIGHUP)
    until(lambda: rig.log.count("read again on SIGHUP") > heard, "SIGHUP is heard")


def test_sighup_takes_over_what_can_change(rig: Rig) -> None:
    """At once, without an end to any request; a file that cannot be used changes nothing."""
    large = {**PROMPT, "padding": "x" * 1_500_000}
    assert rig.ask("/generate", FIRST, large).status_code != 413
    rig.config.write_text("max_body_mb: 1\nhost: 127.0.0.1\nrequests_per_minute: 1000\n")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(rig.ask, "/generate", FIRST, {**PROMPT, "max_tokens": 150})
        until(lambda: rig.ask("/", FIRST).json() == {"status": "busy"}, "a request under way")
        rig.keys.write_text(f"{SECOND}\n")
        hang_up(rig)
        until(lambda: rig.generates(SECOND) == 200, "the new key is valid")
        assert running.result().status_code == 200
    until(lambda: rig.ask("/generate", SECOND, large).status_code == 413, "the new limit holds")
    assert "to these options take effect at the next start: --host." in rig.log
    for spoilt in ("max_body_mb: many\n", "max_bodymb: 2\n", "[", "max_body_mb: 0"):
        rig.config.write_text(spoilt)
        hang_up(rig)
        assert any("configuration file" in problem for problem in rig.problems)
        assert rig.ask("/generate", SECOND, large).status_code == 413
    rig.config.unlink()
    hang_up(rig)
    assert any("configuration file" in problem for problem in rig.problems)
    rig.config.write_text("max_body_mb: 2\n")
    rig.keys.write_text(f"{FIRST}\n")
    hang_up(rig)
    until(lambda: rig.ask("/generate", FIRST, large).status_code != 413, "the old limit holds")
    assert rig.problems == []
    assert rig.server.process.poll() is None


def test_the_log_is_gone(rig: Rig) -> None:
    """With its folder; then another has its name: each time it is there again, with lines of every process."""
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
