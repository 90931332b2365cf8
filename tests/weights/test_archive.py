"""Unpacking good archives, and rejecting each kind of bad one before anything is written."""

import copy
import gzip
import io
import os
import pickle
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.weights.archive import HEAD_BYTES, looks_like_archive, unpack, unpacked_bytes
from tests.weights import archives
from tests.weights.archives import content


def zipped(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    return file


PACKERS: dict[str, Callable[[Path, Path], Path]] = {
    "tar": archives.tar,
    "tar.gz": lambda folder, file: archives.tar(folder, file, "w:gz"),
    "zip": zipped,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_unpack(kind: str, tmp_path: Path) -> None:
    model = archives.model(tmp_path / "model")
    (model / "LICENSE").write_text("x")
    archive = PACKERS[kind](model, tmp_path / "archive")
    assert looks_like_archive(archive.read_bytes()[:HEAD_BYTES])
    progress: list[int] = []
    unpack(archive, tmp_path / "out", progress.append)
    assert content(tmp_path / "out") == content(model)
    assert progress == sorted(progress)
    assert progress[-1] == unpacked_bytes(archive) == sum(map(len, content(model).values()))


@pytest.mark.parametrize("kind", PACKERS)
def test_unneeded_files_are_left_out(kind: str, tmp_path: Path) -> None:
    model = archives.model(tmp_path / "model")
    good = content(model)
    (model / "__MACOSX").mkdir()
    for junk in ("._model.safetensors", ".DS_Store", "__MACOSX/._config.json", "optimizer.pt", "training_args.bin"):
        (model / junk).write_bytes(b"junk")
    archive = PACKERS[kind](model, tmp_path / "archive")
    assert unpacked_bytes(archive) == sum(map(len, good.values()))
    unpack(archive, tmp_path / "out", lambda _: None)
    assert content(tmp_path / "out") == good


def test_modes_of_the_archive_are_ignored(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        info = tarfile.TarInfo("config.json")
        info.mode, info.uid, info.size = 0o4777, 0, 2
        archive.addfile(info, io.BytesIO(b"{}"))
    unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)
    assert (tmp_path / "out" / "config.json").stat().st_mode & 0o7133 == 0


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"x") -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with tarfile.open(file, "w") as archive:
            good = tarfile.TarInfo("config.json")
            good.size = 2
            archive.addfile(good, io.BytesIO(b"{}"))
            bad = tarfile.TarInfo(name)
            bad.type, bad.linkname, bad.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
            archive.addfile(bad, io.BytesIO(data))

    return write


def zip_member(name: str, mode: int = 0o100644, data: bytes = b"x") -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("config.json", "{}")
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data)

    return write


def tar_of(file: Path, kind: bytes, *names: str) -> None:
    with tarfile.open(file, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)


def many(file: Path, kind: bytes, count: int) -> None:
    """`count` members of the same name: they are counted before their names are checked."""
    info = tarfile.TarInfo("a.json")
    info.type = kind
    file.write_bytes(info.tobuf() * count + bytes(1024))


def several(*names: str) -> Callable[[Path], None]:
    """A tar of empty files, and of folders for names that end with a slash."""

    def write(file: Path) -> None:
        with tarfile.open(file, "w") as archive:
            for name in ("config.json", *names):
                info = tarfile.TarInfo(name.removesuffix("/"))
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(info)

    return write


def claiming(file: Path, kind: bytes, size: int, data: bytes = b"", name: str = "././@LongLink") -> None:
    """A tar whose first member claims to have `size` bytes."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    file.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + data)


def sparse(file: Path) -> None:
    """A sparse file, in GNU tar's format 1.0, that is a hole of 512 MiB."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.json")
        sparse_map = b"1\n536870912\n0\n".ljust(512, b"\0")
        info.size = len(sparse_map)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "a.json",
            "GNU.sparse.realsize": str(512 << 20),
        }
        archive.addfile(info, io.BytesIO(sparse_map))


def sparse_with_bytes(file: Path) -> None:
    """A sparse file that claims 1 TiB in the archive, and 0 bytes unpacked."""
    info = tarfile.TarInfo("a.json")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 1 << 40
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    # Its list of chunks is empty, and its real size is 0.
    header[483:495] = b"00000000000\0"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    file.write_bytes(bytes(header) + bytes(1024))


def compressed(file: Path, method: int) -> None:
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("config.json", "{}")


def many_zipped(file: Path, count: int) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("0.json", b"")
        for number in range(1, count):
            again = copy.copy(archive.filelist[0])
            again.filename = f"{number:064}.json"
            archive.filelist.append(again)


def gzip_bomb(file: Path) -> None:
    """2.5 GB of zeros, as one file of a tar, in 2.5 MB."""
    info = tarfile.TarInfo("a.safetensors")
    info.size = 5 << 29
    zeros = gzip.compress(bytes(1 << 24))
    with file.open("wb") as opened:
        opened.write(gzip.compress(info.tobuf()))
        for _ in range(info.size >> 24):
            opened.write(zeros)


def overlapping(file: Path) -> None:
    """100 entries that share the same 16 MiB of zeros, compressed to 16 kB."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.json", bytes(16 << 20))
        first = archive.infolist()[0]
        for number in range(1, 100):
            again = copy.copy(first)
            again.filename = f"{number}.json"
            archive.filelist.append(again)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/maritalk-pickle-was-read",)


PICKLE = pickle.dumps(Evil())
BAD = {
    "above": member("../outside.json"),
    "above, hidden": member("a/../../outside.json"),
    "absolute": member("/tmp/outside.json"),
    "a symbolic link": member("link.json", tarfile.SYMTYPE, "/etc/passwd"),
    "a symbolic link to a folder": member("folder", tarfile.SYMTYPE, "/tmp"),
    "a hard link": member("link.json", tarfile.LNKTYPE, "config.json"),
    "a character device": member("device.json", tarfile.CHRTYPE),
    "a block device": member("device.json", tarfile.BLKTYPE),
    "a pipe": member("pipe.json", tarfile.FIFOTYPE),
    "a pickle": member("pytorch_model.bin", data=PICKLE),
    "a pickle, .pt": member("weights.pt", data=PICKLE),
    "a pickle, .pkl": member("a/model.pkl", data=PICKLE),
    "code": member("modeling_model.py"),
    "a shared library": member("libx.so"),
    "no ending": member("weights"),
    "twice": member("config.json"),
    "twice, otherwise written": member("./config.json"),
    "zip: above": zip_member("../outside.json"),
    "zip: absolute": zip_member("/tmp/outside.json"),
    "zip: backslashes": zip_member("..\\outside.json"),
    "zip: a link": zip_member("link.json", stat.S_IFLNK | 0o777, b"/etc/passwd"),
    "zip: a device": zip_member("device.json", stat.S_IFCHR | 0o644),
    "zip: a pickle": zip_member("pytorch_model.bin", data=PICKLE),
    "a file that another case has": member("Config.json"),
    "another form of the same accent": several("\u00e9.json", "e\u0301.json"),
    "folders that differ in case": several("Model/a.json", "model/b.json"),
    "a folder where a file is": several("a.json", "a.json/b.json"),
    "a file where a folder is": several("a.json/b.json", "a.json"),
    "an empty folder where a file is": several("a.json", "a.json/"),
    "a folder above it": several("../"),
    "a name that no file system takes": member("a" * 300 + ".json"),
    "a path that is too long": member("/".join(["a" * 200] * 8) + ".json"),
    "folders in folders": member("/".join(["a"] * 30) + "/a.json"),
    "nothing but folders": lambda file: tar_of(file, tarfile.DIRTYPE, "a", "b"),
    "zip: a file that another case has": zip_member("CONFIG.json"),
    "zip: a folder where a file is": zip_member("config.json/a.json"),
    "zip: LZMA, which takes what memory it says": lambda file: compressed(file, zipfile.ZIP_LZMA),
    "too many files": lambda file: many(file, tarfile.REGTYPE, 10_001),
    "too many folders": lambda file: many(file, tarfile.DIRTYPE, 10_001),
    "zip: too many files": lambda file: many_zipped(file, 10_001),
    "zip: a list that takes all memory": lambda file: many_zipped(file, 90_000),
    "a long name of 64 MB": lambda file: claiming(file, b"L", 64 << 20, b"a" * (64 << 20)),
    "a long link of 64 MB": lambda file: claiming(file, b"K", 64 << 20, bytes(64 << 20)),
    "attributes of 64 MB": lambda file: claiming(file, b"x", 64 << 20, b"1" * (64 << 20)),
    "attributes for all of 64 MB": lambda file: claiming(file, b"g", 64 << 20, b"1" * (64 << 20)),
    "a sparse file": sparse,
    "more than it can be unpacked to": lambda file: claiming(file, b"0", 1 << 42, name="a.json"),
    "more than it can be unpacked to, of an unknown kind": lambda file: claiming(file, b"Z", 1 << 42, name="a.json"),
    "more than it can be unpacked to, of a sparse file": sparse_with_bytes,
    "gzip: zeros without end": gzip_bomb,
    "zip: many files that are the same bytes": overlapping,
}


@pytest.mark.parametrize("kind", BAD)
def test_forbidden_archives_are_rejected_before_writing(kind: str, tmp_path: Path) -> None:
    BAD[kind](tmp_path / "archive")
    with pytest.raises(WeightsError, match="The archive holds"):
        unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == ["archive"]
    assert not Path("/tmp/outside.json").exists()
    assert not Path("/tmp/maritalk-pickle-was-read").exists()


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind.startswith("more than")])
def test_oversized_archives_are_rejected(kind: str, tmp_path: Path) -> None:
    BAD[kind](tmp_path / "archive")
    with pytest.raises(WeightsError, match="unpacked, too much for its own size"):
        unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)


def encrypted(file: Path) -> None:
    zip_member("more.json")(file)
    data = bytearray(file.read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        offset = data.rindex(mark) + (6 if mark == b"PK\x03\x04" else 8)
        data[offset] |= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    tarfile.open(file, "w").close()


@pytest.mark.parametrize("write", [encrypted, empty])
def test_other_rejected_archives(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "archive")
    with pytest.raises(WeightsError, match="The archive holds"):
        unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_cut_off(kind: str, cut: float, tmp_path: Path) -> None:
    archive = PACKERS[kind](archives.model(tmp_path / "model"), tmp_path / "archive")
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * cut)])
    with pytest.raises(WeightsError, match="The archive is damaged"):
        unpack(archive, tmp_path / "out", lambda _: None)


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_changed_byte(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](archives.model(tmp_path / "model"), tmp_path / "archive")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(WeightsError, match="The archive is damaged"):
        unpack(archive, tmp_path / "out", lambda _: None)


@pytest.mark.parametrize("head", [b"", b"\x7fELF" + bytes(600), b"<html>", bytes(600), b"\x80\x04pickle"])
def test_files_that_are_no_archives(head: bytes, tmp_path: Path) -> None:
    assert not looks_like_archive(head[:HEAD_BYTES])
    (tmp_path / "file").write_bytes(head)
    with pytest.raises(WeightsError):
        unpack(tmp_path / "file", tmp_path / "out", lambda _: None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(PACKERS)), changes=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255))))
def test_random_damage_raises_only_weights_error(
    kind: str, changes: list[tuple[int, int]], small: dict[str, Path], tmp_path: Path
) -> None:
    """Random changes to the headers of a tar and the directory of a zip."""
    data = bytearray(small[kind].read_bytes())
    for offset, value in changes:
        data[-1 - offset % len(data) if kind == "zip" else offset % len(data)] = value
    (tmp_path / "archive").write_bytes(data)
    with suppress(WeightsError):
        unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert [file.name for file in tmp_path.iterdir()] == ["archive"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("small")
    model = archives.model(folder / "model", 640)
    return {kind: pack(model, folder / kind) for kind, pack in PACKERS.items()}
