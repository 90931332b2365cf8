"""API keys: which are known, what is kept of them, and how a file of them is read."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import ApiKeys, hash_key, read_key_file
from maritalk_vllm.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one key."""
    file = tmp_path / "keys"
    file.write_text("first\n")
    return file


def given(*known: str) -> ApiKeys:
    return ApiKeys(map(hash_key, known))


@pytest.mark.parametrize("key", ["one", "two", "três"])
def test_each_of_several_is_known_and_told_apart(key: str) -> None:
    assert given("one", "two", "três").match(key) == hash_key(key)


@pytest.mark.parametrize("key", ["", "On", "ONE", "one ", "onetwo", "tres", "\0", "x" * 100_000, hash_key("one")])
def test_what_is_none_of_them(key: str) -> None:
    assert given("one", "two", "três").match(key) is None


def test_without_any_there_is_nothing_to_ask_for(file: Path) -> None:
    assert not ApiKeys([])
    assert given("one")
    assert ApiKeys([], read_key_file(file).keys)


def test_those_given_and_those_of_the_file_are_known_alike(file: Path) -> None:
    both = ApiKeys([hash_key("given")], read_key_file(file).keys)
    assert both.match("given")
    assert both.match("first")


def test_a_file_as_people_write_it(file: Path) -> None:
    file.write_bytes("# De João\n\n  plain\t\ncommented # até março\r\nchavé\n   \n#off\nplain\nlast".encode())
    assert read_key_file(file).keys.keys() == set(map(hash_key, ("plain", "commented", "chavé", "last")))


def test_a_mark_that_windows_puts_first_is_no_part_of_a_key(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbffirst\r\nsecond\r\n")
    assert read_key_file(file).keys.keys() == {hash_key("first"), hash_key("second")}


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("ab#cd", "ab#cd"),
        ("ab##", "ab##"),
        ("ab#cd # comment", "ab#cd"),
        ("ab#cd\t#comment", "ab#cd"),
        ("ab #cd", "ab"),
        ("  ab#name: ana", "ab#name: ana"),
        ("ab # c # d", "ab"),
        ("#ab", None),
        ("  # ab", None),
        ("#", None),
    ],
)
def test_a_comment_begins_with_the_line_or_behind_white_space(file: Path, line: str, key: str | None) -> None:
    file.write_text(f"other\n{line}\n")
    assert read_key_file(file).keys.keys() == {hash_key("other")} | ({hash_key(key)} if key else set())


def test_a_short_key_and_one_with_a_mark_inside_are_named_by_their_lines_alone(file: Path) -> None:
    file.write_text(f"# keys\n{'s' * 15}\n{'l' * 16}\nlong-enough-key#name: ana\n")
    short, joined = read_key_file(file).warnings
    assert short.startswith(f"{file}, line 2: 1 API key with fewer than 16 characters")
    assert "line 4" in joined
    assert not any(key in short + joined for key in ("sss", "lll", "enough", "ana"))
    file.write_text(f"{'l' * 16}\n")
    assert read_key_file(file).warnings == ()


def test_a_short_key_is_told_of_at_the_start(file: Path) -> None:
    access = AccessConfig.from_settings(Settings(api_key=("chave-curta", "c" * 16), api_key_file=file))
    given, of_file = access.warnings
    assert given.startswith("--api-key: 1 API key with fewer")
    assert of_file.startswith(f"{file}, line 1: 1 API key with fewer")
    assert "chave-curta" not in given + of_file


def test_names_are_told_apart_from_comments(file: Path) -> None:
    file.write_text(
        "one # name: Ana, do laboratório\ntwo #name:bia\nthree # até março\nfour # name:  \nfive # name: " + "x" * 99
    )
    known = ApiKeys([hash_key("given")], read_key_file(file).keys)
    names = {key: known.label_of(hash_key(key)) for key in ("one", "two", "three", "four", "five", "given", "unknown")}
    digits = {key: hash_key(key)[:8] for key in ("three", "four", "given")}
    assert names == {"one": "Ana, do laboratório", "two": "bia", "five": "x" * 64, "unknown": "", **digits}


def test_no_key_is_kept_in_clear(file: Path) -> None:
    file.write_text("secret-of-the-file\n")
    known = ApiKeys([hash_key("secret-given")], read_key_file(file).keys)
    assert known.match("secret-given")
    assert known.match("secret-of-the-file")
    assert known.match("secret-wrong") is None
    # All that can be reached from it, however deep.
    everything = pickle.dumps(known)
    assert hash_key("secret-given").encode() in everything
    assert b"secret-" not in everything
    assert "secret-" not in repr(known) + repr(vars(known))


def test_others_are_taken_over(file: Path) -> None:
    known = ApiKeys([hash_key("given")], read_key_file(file).keys)
    file.write_text("second # name: ana\n")
    known.update([hash_key("given")], read_key_file(file).keys)
    assert known.match("given")
    assert known.label_of(known.match("second") or "") == "ana"
    assert known.match("first") is None


def emptied(file: Path) -> None:
    file.write_text("")


def commented_out(file: Path) -> None:
    file.write_text("# first\n")


@pytest.mark.parametrize("revoke", [emptied, commented_out])
def test_a_file_without_any_key_revokes_the_last_and_opens_nothing(file: Path, revoke: Callable[[Path], None]) -> None:
    known = ApiKeys([], read_key_file(file).keys)
    revoke(file)
    known.update([], read_key_file(file, may_be_empty=True).keys)
    assert known
    assert known.match("first") is None
    assert known.match("") is None


def made_of_no_text(file: Path) -> None:
    file.write_bytes(b"second\n\xff\xfe\n")


def removed(file: Path) -> None:
    file.unlink()


def made_a_folder(file: Path) -> None:
    # As unreadable for root as for anybody.
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoilt", [emptied, commented_out, made_of_no_text, removed, made_a_folder])
def test_at_the_start_such_a_file_is_an_error(file: Path, spoilt: Callable[[Path], None]) -> None:
    spoilt(file)
    with pytest.raises(UsageError) as error:
        AccessConfig.from_settings(Settings(api_key=("given",), api_key_file=file))
    assert str(file) in str(error.value)
    assert "--api-key-file" in str(error.value)


@pytest.mark.parametrize("spoilt", [made_of_no_text, removed, made_a_folder])
def test_while_it_serves_only_a_file_that_can_be_read_revokes(file: Path, spoilt: Callable[[Path], None]) -> None:
    spoilt(file)
    with pytest.raises(UsageError):
        read_key_file(file, may_be_empty=True)


def test_keys_that_generate_nothing_and_the_servers_own_are_no_others(file: Path) -> None:
    file.write_text("first\nsecond # name: prometheus, scope: metrics\nthird # scope: metric\n")
    of_file = read_key_file(file).keys
    assert not ApiKeys([], of_file, own=hash_key("ours")).are_several
    assert ApiKeys([hash_key("given")], of_file).are_several
    assert ApiKeys([], of_file, own=hash_key("ours")).match("ours")
    assert not ApiKeys([], None, own=hash_key("ours"))
