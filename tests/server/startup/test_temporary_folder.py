"""The folder for sockets, whose paths have at most 107 bytes."""

import tempfile
from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server.startup import temporary_folder


@pytest.mark.parametrize(("length", "is_used"), [(40, True), (52, True), (53, False), (95, False)])
def test_folder_is_used_only_if_socket_paths_in_it_fit(
    length: int, is_used: bool, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        folder = Path(top) / ("x" * (length - len(top) - 1))
        folder.mkdir()
        assert len(str(folder)) == length
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        found = temporary_folder.temporary_parent()
        assert (found == str(folder)) == is_used
        # /maritalk-12345678 of the server, and /UUID of vLLM's socket.
        assert len(found) + 18 + 37 <= 107


def test_without_a_usable_folder_an_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/" + "x" * 90)
    monkeypatch.setattr(temporary_folder, "_FALLBACKS", ("/proc",))
    with pytest.raises(UsageError, match="too long names"):
        temporary_folder.temporary_parent()
