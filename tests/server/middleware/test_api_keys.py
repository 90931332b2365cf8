"""API keys: matching, storage as digests, and parsing of the key file."""

import pickle
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import ApiKeys, Key, hash_key, read_key_file
from maritalk_vllm.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key file with one key."""
    file = tmp_path / "keys"
    file.write_text("first\n")
    return file


def api_keys(*keys: str) -> ApiKeys:
    return ApiKeys(map(hash_key, keys))


@pytest.mark.parametrize("key", ["one", "two", "três"])
def test_each_of_several_keys_matches_its_own_digest(key: str) -> None:
    assert api_keys("one", "two", "três").match(key) == hash_key(key)


@pytest.mark.parametrize("key", ["", "On", "ONE", "one ", "onetwo", "tres", "\0", "x" * 100_000, hash_key("one")])
def test_an_invalid_key_does_not_match(key: str) -> None:
    assert api_keys("one", "two", "três").match(key) is None


def test_the_time_to_match_a_key_does_not_grow_with_the_number_of_keys() -> None:
    few, many = api_keys("one"), api_keys("one", *map(str, range(20_000)))

    def seconds(keys: ApiKeys) -> float:
        return min(timeit.repeat(lambda: keys.match("one"), number=10, repeat=20))

    assert seconds(many) < 20 * seconds(few)


def test_keys_are_required_only_if_any_are_set(file: Path) -> None:
    assert not ApiKeys([])
    assert api_keys("one")
    assert ApiKeys([], read_key_file(file).keys)


def test_keys_from_options_and_from_the_file_are_both_valid(file: Path) -> None:
    both = ApiKeys([hash_key("given")], read_key_file(file).keys)
    assert both.match("given")
    assert both.match("first")


def test_comments_and_blank_lines_in_a_key_file(file: Path) -> None:
    file.write_bytes("# De João\n\n  plain\t\ncommented # até março\r\nchavé\n   \n#off\nplain\nlast".encode())
    assert read_key_file(file).keys.keys() == set(map(hash_key, ("plain", "commented", "chavé", "last")))


def test_a_byte_order_mark_is_not_part_of_a_key(file: Path) -> None:
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
def test_a_comment_starts_at_the_line_start_or_after_white_space(file: Path, line: str, key: str | None) -> None:
    file.write_text(f"other\n{line}\n")
    assert read_key_file(file).keys.keys() == {hash_key("other")} | ({hash_key(key)} if key else set())


def test_warnings_name_keys_by_their_line_numbers_only(file: Path) -> None:
    file.write_text(f"# keys\n{'s' * 15}\n{'l' * 16}\nlong-enough-key#name: ana\n")
    short, joined = read_key_file(file).warnings
    assert short.startswith(f"{file}, line 2: 1 API key with fewer than 16 characters")
    assert "line 4" in joined
    assert not any(key in short + joined for key in ("sss", "lll", "enough", "ana"))
    file.write_text(f"{'l' * 16}\n")
    assert read_key_file(file).warnings == ()


def test_a_short_key_causes_a_warning_at_the_start(file: Path) -> None:
    access = AccessConfig.from_settings(Settings(api_key=("chave-curta", "c" * 16), api_key_file=file))
    option_warning, file_warning = access.warnings
    assert option_warning.startswith("--api-key: 1 API key with fewer")
    assert file_warning.startswith(f"{file}, line 1: 1 API key with fewer")
    assert "chave-curta" not in option_warning + file_warning


def test_key_names_are_distinguished_from_comments(file: Path) -> None:
    file.write_text(
        "one # name: Ana, do laboratório\ntwo #name:bia\nthree # até março\nfour # name:  \nfive # name: " + "x" * 99
    )
    keys = ApiKeys([hash_key("given")], read_key_file(file).keys)
    names = {key: keys.label_of(hash_key(key)) for key in ("one", "two", "three", "four", "five", "given", "unknown")}
    digits = {key: hash_key(key)[:8] for key in ("three", "four", "given")}
    assert names == {"one": "Ana, do laboratório", "two": "bia", "five": "x" * 64, "unknown": "", **digits}


def test_no_key_is_stored_in_plain_text(file: Path) -> None:
    file.write_text("secret-of-the-file\n")
    keys = ApiKeys([hash_key("secret-given")], read_key_file(file).keys)
    assert keys.match("secret-given")
    assert keys.match("secret-of-the-file")
    assert keys.match("secret-wrong") is None
    # Everything reachable from the object.
    everything = pickle.dumps(keys)
    assert hash_key("secret-given").encode() in everything
    assert b"secret-" not in everything
    assert "secret-" not in repr(keys) + repr(vars(keys))


def test_an_update_replaces_the_keys(file: Path) -> None:
    keys = ApiKeys([hash_key("given")], read_key_file(file).keys)
    file.write_text("second # name: ana\n")
    keys.update([hash_key("given")], read_key_file(file).keys)
    assert keys.match("given")
    assert keys.label_of(keys.match("second") or "") == "ana"
    assert keys.match("first") is None


def emptied(file: Path) -> None:
    file.write_text("")


def commented_out(file: Path) -> None:
    file.write_text("# first\n")


@pytest.mark.parametrize("revoke", [emptied, commented_out])
def test_an_empty_key_file_revokes_all_keys_and_still_requires_one(file: Path, revoke: Callable[[Path], None]) -> None:
    keys = ApiKeys([], read_key_file(file).keys)
    revoke(file)
    keys.update([], read_key_file(file, may_be_empty=True).keys)
    assert keys
    assert keys.match("first") is None
    assert keys.match("") is None


def made_binary(file: Path) -> None:
    file.write_bytes(b"second\n\xff\xfe\n")


def removed(file: Path) -> None:
    file.unlink()


def made_a_folder(file: Path) -> None:
    # Unreadable even for root.
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("make_unusable", [emptied, commented_out, made_binary, removed, made_a_folder])
def test_at_the_start_an_unusable_key_file_is_an_error(file: Path, make_unusable: Callable[[Path], None]) -> None:
    make_unusable(file)
    with pytest.raises(UsageError) as error:
        AccessConfig.from_settings(Settings(api_key=("given",), api_key_file=file))
    assert str(file) in str(error.value)
    assert "--api-key-file" in str(error.value)


@pytest.mark.parametrize("make_unusable", [made_binary, removed, made_a_folder])
def test_while_serving_an_unreadable_key_file_is_an_error(file: Path, make_unusable: Callable[[Path], None]) -> None:
    make_unusable(file)
    with pytest.raises(UsageError):
        read_key_file(file, may_be_empty=True)


def test_scoped_keys_and_the_servers_own_key_do_not_count_as_several(file: Path) -> None:
    file.write_text("first\nsecond # name: prometheus, scope: metrics\nthird # scope: metric\n")
    file_keys = read_key_file(file).keys
    assert not ApiKeys([], file_keys, own=hash_key("ours")).are_several
    assert ApiKeys([hash_key("given")], file_keys).are_several
    assert ApiKeys([], file_keys, own=hash_key("ours")).match("ours")
    assert not ApiKeys([], None, own=hash_key("ours"))


def test_the_digest_of_a_revoked_key_is_accepted_no_more() -> None:
    """For batches, which may outlive the validity of their keys."""
    ana, rui = hash_key("ana"), hash_key("rui")
    access = AccessConfig(digests=(ana,), file_keys={rui: Key("rui")})
    assert [access.accepts(each) for each in (ana, rui, "", hash_key("eva"))] == [True, True, True, False]
    assert not replace(access, file_keys={}).accepts(rui)
    assert AccessConfig().accepts(ana)
