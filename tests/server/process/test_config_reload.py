"""What the supervisor reads again: what it takes over, what it keeps instead, and what it says of that."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.process.config_reload import ConfigReload
from maritalk_vllm.server.process.watched_file import WatchedFile
from maritalk_vllm.server.startup.launch import decide
from tests.server.test_tls import Authority

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"


class Rig:
    """Files that a server reads, and what looks at them."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(f"{FIRST}\n")
        paths = Authority().certify(folder)
        assert paths.ssl_certfile is not None and paths.ssl_keyfile is not None
        self.certfile, self.keyfile = paths.ssl_certfile, paths.ssl_keyfile
        self.settings = replace(
            paths, api_key_file=self.keys, license=EVALUATION_KEY, cache_dir=folder / "cache", port=0
        )
        self.reload = ConfigReload(decide(self.settings))
        self.look()

    def look(self) -> None:
        """As often as it takes to see a change that has settled."""
        for _ in range(2):
            self.reload.look()

    @property
    def access(self) -> AccessConfig:
        return self.reload.launch.access

    def admits(self, key: str) -> bool:
        return self.access.keys.match(key) is not None


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def gone(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xff\xfe")


def wrong(file: Path) -> None:
    file.unlink()
    file.mkdir()


def put_back(file: Path, content: bytes) -> None:
    if file.is_dir():
        file.rmdir()
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [gone, half, wrong])
def test_keys_that_cannot_be_read_stay_as_they_were(
    rig: Rig, log: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    good = rig.keys.read_bytes()
    spoil(rig.keys)
    rig.look()
    assert rig.admits(FIRST)
    assert "keys that were read before stay valid" in rig.reload.problems["api_keys"]
    assert str(rig.keys) not in rig.reload.problems["api_keys"]
    rig.look()
    (record,) = log.records
    assert str(rig.keys) in record.getMessage()
    put_back(rig.keys, good)
    rig.look()
    assert rig.reload.problems["api_keys"] == ""
    put_back(rig.keys, SECOND.encode())
    rig.look()
    assert (rig.admits(FIRST), rig.admits(SECOND)) == (False, True)


@pytest.mark.parametrize("content", ["", "\n\n", "# first-key-of-the-file\n"])
def test_an_empty_file_of_keys_revokes_them_all_and_opens_nothing(
    rig: Rig, log: pytest.LogCaptureFixture, content: str
) -> None:
    rig.keys.write_text(content)
    rig.look()
    assert rig.access.keys
    assert not rig.admits(FIRST)
    assert "no key of it is valid" in rig.reload.problems["api_keys"]
    assert "no key of it is valid" in log.text
    # What is revoked stays so, whatever becomes of the file.
    rig.keys.unlink()
    rig.look()
    assert rig.access.keys
    assert not rig.admits(FIRST)
    rig.keys.write_text(SECOND)
    rig.look()
    assert rig.admits(SECOND)
    assert rig.reload.problems["api_keys"] == ""


def test_a_file_that_is_being_written_is_not_taken_for_an_empty_one(rig: Rig) -> None:
    rig.keys.write_text("")
    rig.reload.look()
    assert rig.admits(FIRST)
    rig.keys.write_text(f"{FIRST}\n{SECOND}\n")
    rig.look()
    assert rig.admits(FIRST)
    assert rig.admits(SECOND)
    rig.keys.write_text("")
    rig.reload.look(at_once=True)
    assert not rig.admits(FIRST)


def test_a_short_key_is_told_of_when_it_is_taken_over(rig: Rig, log: pytest.LogCaptureFixture) -> None:
    rig.keys.write_text("curta-demais")
    rig.look()
    assert rig.admits("curta-demais")
    assert "16 characters" in log.text
    assert "curta" not in log.text


@pytest.mark.parametrize("spoil", [gone, empty, half, wrong])
@pytest.mark.parametrize("which", ["certfile", "keyfile"])
def test_a_certificate_that_cannot_be_used_leaves_the_old_one(
    rig: Rig, which: str, spoil: Callable[[Path], None]
) -> None:
    file: Path = getattr(rig, which)
    good, before = file.read_bytes(), rig.access.certificate
    spoil(file)
    rig.look()
    assert rig.access.certificate == before
    assert "certificate that was read before stays in use" in rig.reload.problems["certificate"]
    put_back(file, good)
    rig.look()
    assert rig.reload.problems["certificate"] == ""
    Authority().certify(file.parent)
    rig.look()
    assert rig.access.certificate != before


def test_a_renewed_certificate_waits_for_its_key(rig: Rig) -> None:
    before, old_key = rig.access.certificate, rig.keyfile.read_bytes()
    Authority().certify(rig.certfile.parent)
    new_key = rig.keyfile.read_bytes()
    rig.keyfile.write_bytes(old_key)
    rig.look()
    assert rig.access.certificate == before
    assert rig.reload.problems["certificate"]
    rig.keyfile.write_bytes(new_key)
    rig.look()
    assert rig.access.certificate is not None
    assert rig.access.certificate.key == new_key.decode()


def test_a_start_that_is_decided_again_reads_no_file_anew(rig: Rig) -> None:
    """As after a download, for which the files may be gone."""
    for file in (rig.keys, rig.certfile, rig.keyfile):
        file.unlink()
    before = rig.access
    rig.reload.again()
    assert rig.access == before


def test_what_is_looked_at_and_what_was_read_before_it(tmp_path: Path) -> None:
    """A change between the first reading and the first look; one that leaves no sign; one during a reading."""
    file = tmp_path / "file"
    file.write_text("b")
    allowed, during = True, ""

    def read() -> str:
        if not allowed:
            raise UsageError("Permission denied.")
        text = file.read_text()
        if during:
            file.write_text(during)
        return text

    watched = WatchedFile([file], read, "a")
    assert not watched.look()
    assert watched.look()
    assert watched.value == "b"
    assert not watched.look()
    file.write_text("cc")
    allowed = False
    assert not watched.look(at_once=True)
    assert watched.trouble == "Permission denied."
    allowed = True
    assert watched.look(at_once=True)
    assert (watched.value, watched.trouble) == ("cc", "")
    during = "eeee"
    file.write_text("ddd")
    assert watched.look(at_once=True)
    during = ""
    assert not watched.look()
    assert watched.look()
    assert watched.value == "eeee"


def test_a_folder_of_links_as_kubernetes_mounts_it(rig: Rig, tmp_path: Path) -> None:
    """The names stay; the link behind them is exchanged."""
    for number, key in enumerate((FIRST, SECOND)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "keys").write_text(key)
    rig.keys.unlink()
    (tmp_path / "data").symlink_to("0")
    rig.keys.symlink_to("data/keys")
    rig.look()
    assert rig.admits(FIRST)
    (tmp_path / "next").symlink_to("1")
    (tmp_path / "next").rename(tmp_path / "data")
    rig.look()
    assert (rig.admits(FIRST), rig.admits(SECOND)) == (False, True)


def test_a_reload_never_opens_a_server_that_has_keys_nor_gives_up_https(
    rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").touch()
    wanted = replace(rig.settings, api_key_file=None, ssl_certfile=None, ssl_keyfile=None, max_body_mb=3, port=1)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: wanted)
    reload.reload()
    access = reload.launch.access
    assert access.keys.match(FIRST)
    assert access.keys.match("") is None
    assert access.certificate is not None
    assert access.max_body_bytes == 3_000_000
    assert "start on: --port, --api-key-file, --ssl-certfile, --ssl-keyfile." in log.text


def test_a_reload_takes_over_another_file_of_keys_or_says_why_not(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    wanted = replace(rig.settings, api_key_file=tmp_path / "others", max_body_mb=3)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: wanted)
    reload.reload()
    assert reload.launch.access.keys.match(FIRST)
    assert reload.launch.access.max_body_bytes == 16_000_000
    for _ in range(3):
        # It stays refused until the next SIGHUP.
        assert "options that were read before stay in use" in reload.problems["config"]
        reload.look()
    (tmp_path / "others").write_text(SECOND)
    reload.reload()
    assert reload.problems["config"] == ""
    assert reload.launch.access.max_body_bytes == 3_000_000
    assert reload.launch.access.keys.match(FIRST) is None
    (tmp_path / "others").write_text(FIRST)
    reload.look(at_once=True)
    assert reload.launch.access.keys.match(FIRST)


def test_problems_of_files_that_are_watched_no_more_are_gone(
    rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").touch()
    wanted = replace(rig.settings, api_key=(SECOND,), api_key_file=None)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: wanted)
    rig.keys.unlink()
    reload.look(at_once=True)
    assert reload.problems["api_keys"]
    reload.reload()
    assert "api_keys" not in reload.problems
    assert reload.launch.access.keys.match(FIRST) is None
    wanted = rig.settings
    rig.keys.write_text(FIRST)
    reload.reload()
    assert reload.problems["api_keys"] == ""


def test_the_limits_and_times_of_a_reload(rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config").touch()
    wanted = replace(rig.settings, answers_per_key=3, api_timeout=7.0)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: wanted)
    reload.reload()
    assert (reload.launch.access.answers_per_key, reload.launch.settings.api_timeout) == (3, 7.0)
    assert "next start" not in log.text


def test_the_chat_stays_admitted_when_a_reload_adds_and_exchanges_keys(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    settings = replace(rig.settings, api_key_file=None)
    launch = decide(settings)
    wanted = replace(settings, api_key=(FIRST,))
    reload = ConfigReload(
        replace(launch, access=launch.access.with_extra_key("chat")), tmp_path / "config", lambda: wanted
    )
    assert not reload.launch.access.keys
    for key in (FIRST, SECOND):
        wanted = replace(settings, api_key=(key,))
        reload.reload()
        keys = reload.launch.access.keys
        assert (keys.match("chat"), keys.match(key)) == (hash_key("chat"), hash_key(key))
        assert not keys.are_several
    assert keys.match(FIRST) is None
