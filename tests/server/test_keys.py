"""API keys: which are known, what is kept of them, and how a file of them changes."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server import keys
from maritalk_vllm.server.keys import ApiKeys, digest, read_keys


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one key, and nobody who waits before looking at it again."""
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0)
    file = tmp_path / "keys"
    file.write_text("first\n")
    return file


def given(*known: str) -> ApiKeys:
    return ApiKeys(map(digest, known))


@pytest.mark.parametrize("key", ["one", "two", "três"])
def test_each_of_several_is_known_and_told_apart(key: str) -> None:
    assert given("one", "two", "três").find(key) == digest(key)


@pytest.mark.parametrize("key", ["", "On", "ONE", "one ", "onetwo", "tres", "\0", "x" * 100_000, digest("one")])
def test_what_is_none_of_them(key: str) -> None:
    assert given("one", "two", "três").find(key) is None


def test_without_any_there_is_nothing_to_ask_for(file: Path) -> None:
    assert not ApiKeys([])
    assert given("one")
    assert ApiKeys([], file)


def test_those_given_and_those_of_the_file_are_known_alike(file: Path) -> None:
    both = ApiKeys([digest("given")], file)
    assert both.find("given")
    assert both.find("first")


def test_a_file_as_people_write_it(file: Path) -> None:
    file.write_bytes("# De João\n\n  plain\t\ncommented # até março\r\nchavé\n   \n#off\nplain\nlast".encode())
    assert read_keys(file).keys() == set(map(digest, ("plain", "commented", "chavé", "last")))


def test_a_mark_that_windows_puts_first_is_no_part_of_a_key(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbffirst\r\nsecond\r\n")
    assert read_keys(file).keys() == {digest("first"), digest("second")}


def test_names_are_told_apart_from_comments(file: Path) -> None:
    file.write_text(
        "one # name: Ana, do laboratório\ntwo#name:bia\nthree # até março\nfour # name:  \nfive # name: " + "x" * 99
    )
    known = ApiKeys([digest("given")], file)
    names = {key: known.name(digest(key)) for key in ("one", "two", "three", "four", "five", "given", "unknown")}
    digits = {key: digest(key)[:8] for key in ("three", "four", "given")}
    assert names == {"one": "Ana, do laboratório", "two": "bia", "five": "x" * 64, "unknown": "", **digits}


def test_a_name_is_taken_over_with_its_file(file: Path) -> None:
    known = ApiKeys([], file)
    replaced(file, b"first # name: ana")
    assert known.find("first") == digest("first")
    assert known.name(digest("first")) == "ana"


def test_no_key_is_kept_in_clear(file: Path) -> None:
    file.write_text("secret-of-the-file\n")
    known = ApiKeys([digest("secret-given")], file)
    assert known.find("secret-given")
    assert known.find("secret-of-the-file")
    assert known.find("secret-wrong") is None
    # All that can be reached from it, however deep.
    everything = pickle.dumps(known)
    assert digest("secret-given").encode() in everything
    assert b"secret-" not in everything
    assert "secret-" not in repr(known) + repr(vars(known))


def replaced(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)


def rewritten(file: Path, content: bytes) -> None:
    file.write_bytes(content)


@pytest.mark.parametrize("change", [replaced, rewritten])
def test_a_change_is_taken_over(file: Path, change: Callable[[Path, bytes], None]) -> None:
    known = ApiKeys([digest("given")], file)
    for old, new in (("first", "the second"), ("the second", "the third one")):
        assert known.find(old)
        change(file, new.encode())
        assert known.find(new)
        assert known.find(old) is None
        assert known.find("given")


def emptied(file: Path) -> None:
    file.write_text("")


def commented_out(file: Path) -> None:
    file.write_text("# first\n")


def made_of_no_text(file: Path) -> None:
    file.write_bytes(b"second\n\xff\xfe\n")


def removed(file: Path) -> None:
    file.unlink()


def made_a_folder(file: Path) -> None:
    # As unreadable for root as for anybody.
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoilt", [emptied, commented_out, made_of_no_text, removed, made_a_folder])
def test_a_file_that_is_spoilt_shuts_nobody_out_and_is_read_once_it_is_good(
    file: Path, spoilt: Callable[[Path], None]
) -> None:
    known = ApiKeys([], file)
    spoilt(file)
    assert known.find("first")
    assert known.find("second") is None
    assert known
    if file.is_dir():
        file.rmdir()
    replaced(file, b"the second\n")
    assert known.find("the second")
    assert known.find("first") is None


@pytest.mark.parametrize("spoilt", [emptied, commented_out, made_of_no_text, removed, made_a_folder])
def test_at_the_start_such_a_file_is_an_error(file: Path, spoilt: Callable[[Path], None]) -> None:
    spoilt(file)
    with pytest.raises(UsageError) as error:
        ApiKeys([digest("given")], file)
    assert str(file) in str(error.value)
    assert "--api-key-file" in str(error.value)


def test_a_change_while_the_file_is_read_first_is_not_missed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_in_time(file: Path) -> dict[str, str]:
        found = read_keys(file)
        replaced(file, b"the second\n")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(keys, "read_keys", read_in_time)
        known = ApiKeys([], file)
    assert known.find("the second")
    assert known.find("first") is None


def test_a_change_that_cannot_be_read_is_read_once_it_can(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a file is moved here first, and given to its reader then: that alone leaves no sign of a change."""

    def not_allowed(file: Path) -> frozenset[str]:
        raise UsageError("Permission denied.")

    known = ApiKeys([], file)
    replaced(file, b"the second\n")
    with monkeypatch.context() as patch:
        patch.setattr(keys, "read_keys", not_allowed)
        assert known.find("the second") is None
        assert known.find("first")
    assert known.find("the second")


def test_the_file_is_not_looked_at_for_each_request(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 3600)
    known = ApiKeys([], file)
    replaced(file, b"the second\n")
    assert known.find("the second") is None
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0)
    assert known.find("the second")
