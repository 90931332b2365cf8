"""What a service manager hears, at a real socket of its kind."""

from pathlib import Path

import pytest

from maritalk_vllm.server.systemd import VARIABLE, Systemd
from tests.service_manager import service_manager


@pytest.mark.parametrize("address", ["{}/notify", "@{}/no-file"])
def test_the_words(tmp_path: Path, address: str) -> None:
    with service_manager(address.format(tmp_path)) as manager:
        systemd = Systemd()
        systemd.status("Loading demo")
        systemd.ready("Listening on http://0.0.0.0:9000")
        systemd.stopping("Finishing what runs")
        assert manager.heard() == [
            "STATUS=Loading demo",
            "READY=1\nSTATUS=Listening on http://0.0.0.0:9000",
            "STOPPING=1\nSTATUS=Finishing what runs",
        ]


def test_no_line_of_a_text_is_taken_for_a_word(tmp_path: Path) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        Systemd().status("The engine died:\nREADY=1\n")
        assert manager.heard() == ["STATUS=The engine died: READY=1"]


def test_nobody_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        monkeypatch.delenv(VARIABLE)
        Systemd().ready("Listening")
        assert manager.heard() == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "nonsense", "/" + 200 * "x"])
def test_a_service_manager_that_is_gone(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VARIABLE, address)
    Systemd().ready("Listening")


def test_a_service_manager_that_takes_nothing_more(tmp_path: Path) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        systemd = Systemd()
        for _ in range(10_000):
            systemd.status("Loading.")
        assert 0 < len(manager.heard()) < 10_000
