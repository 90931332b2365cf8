"""Unpacking: good archives as people make them, and each kind of bad one, of which nothing is written."""

import io
import os
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

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
def test_what_was_packed_is_unpacked(kind: str, tmp_path: Path) -> None:
    model = archives.model(tmp_path / "model")
    (model / "LICENSE").write_text("x")
    archive = PACKERS[kind](model, tmp_path / "archive")
    assert looks_like_archive(archive.read_bytes()[:HEAD_BYTES])
    told: list[int] = []
    unpack(archive, tmp_path / "out", told.append)
    assert content(tmp_path / "out") == content(model)
    assert told == sorted(told)
    assert told[-1] == unpacked_bytes(archive) == sum(map(len, content(model).values()))


@pytest.mark.parametrize("kind", PACKERS)
def test_what_is_of_no_use_is_left_out(kind: str, tmp_path: Path) -> None:
    model = archives.model(tmp_path / "model")
    good = content(model)
    (model / "__MACOSX").mkdir()
    for junk in ("._model.safetensors", ".DS_Store", "__MACOSX/._config.json", "optimizer.pt", "training_args.bin"):
        (model / junk).write_bytes(b"junk")
    archive = PACKERS[kind](model, tmp_path / "archive")
    assert unpacked_bytes(archive) == sum(map(len, good.values()))
    unpack(archive, tmp_path / "out", lambda _: None)
    assert content(tmp_path / "out") == good


def test_only_files_that_are_ours_to_write(tmp_path: Path) -> None:
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
}


@pytest.mark.parametrize("kind", BAD)
def test_refused_and_nothing_written(kind: str, tmp_path: Path) -> None:
    BAD[kind](tmp_path / "archive")
    with pytest.raises(WeightsError, match="The archive holds"):
        unpack(tmp_path / "archive", tmp_path / "out", lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == ["archive"]
    assert not Path("/tmp/outside.json").exists()
    assert not Path("/tmp/maritalk-pickle-was-read").exists()


def encrypted(file: Path) -> None:
    zip_member("more.json")(file)
    data = bytearray(file.read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        at = data.rindex(mark) + (6 if mark == b"PK\x03\x04" else 8)
        data[at] |= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    tarfile.open(file, "w").close()


@pytest.mark.parametrize("write", [encrypted, empty])
def test_other_refusals(write: Callable[[Path], None], tmp_path: Path) -> None:
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
def test_a_byte_changed(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](archives.model(tmp_path / "model"), tmp_path / "archive")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(WeightsError, match="The archive is damaged"):
        unpack(archive, tmp_path / "out", lambda _: None)


@pytest.mark.parametrize("head", [b"", b"\x7fELF" + bytes(600), b"<html>", bytes(600), b"\x80\x04pickle"])
def test_what_looks_like_none(head: bytes, tmp_path: Path) -> None:
    assert not looks_like_archive(head[:HEAD_BYTES])
    (tmp_path / "file").write_bytes(head)
    with pytest.raises(WeightsError):
        unpack(tmp_path / "file", tmp_path / "out", lambda _: None)
