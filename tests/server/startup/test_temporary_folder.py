"""Where sockets go: their names have 107 bytes at most."""

import tempfile
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.startup import temporary_folder


@pytest.mark.parametrize(("length", "kept"), [(40, True), (52, True), (53, False), (95, False)])
def test_a_folder_with_a_long_name_is_not_taken(
    length: int, kept: bool, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        folder = Path(top) / ("x" * (length - len(top) - 1))
        folder.mkdir()
        assert len(str(folder)) == length
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        found = temporary_folder.temporary_parent()
        assert (found == str(folder)) == kept
        # /maritalk-12345678 of the start, and /UUID of vLLM's socket.
        assert len(found) + 18 + 37 <= 107


def test_no_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/" + "x" * 90)
    monkeypatch.setattr(temporary_folder, "_FALLBACKS", ("/proc",))
    with pytest.raises(UsageError, match="too long names"):
        temporary_folder.temporary_parent()
