"""Messages to a service manager, over a real socket of its kind."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from maritalk_vllm.server.status.sd_notify import VARIABLE, SystemdNotifier
from tests.service_manager import ServiceManager, service_manager


@pytest.mark.parametrize("address", ["{}/notify", "@{}/no-file"])
def test_messages_have_the_format_of_sd_notify(tmp_path: Path, address: str) -> None:
    with service_manager(address.format(tmp_path)) as manager:
        systemd = SystemdNotifier()
        systemd.status("Loading demo")
        systemd.ready("Listening on http://0.0.0.0:9000")
        systemd.stopping("Finishing what runs")
        assert manager.received() == [
            "STATUS=Loading demo",
            "READY=1\nSTATUS=Listening on http://0.0.0.0:9000",
            "STOPPING=1\nSTATUS=Finishing what runs",
        ]


def test_line_breaks_in_a_status_are_replaced(tmp_path: Path) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        SystemdNotifier().status("The engine died:\nREADY=1\n")
        assert manager.received() == ["STATUS=The engine died: READY=1"]


def test_nothing_is_sent_without_a_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        monkeypatch.delenv(VARIABLE)
        SystemdNotifier().ready("Listening")
        assert manager.received() == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "nonsense", "/" + 200 * "x"])
def test_unreachable_service_manager_is_ignored(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(VARIABLE, address)
    SystemdNotifier().ready("Listening")


def test_full_socket_of_the_service_manager_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as unread:
        unread.bind(f"{tmp_path}/notify")
        monkeypatch.setenv(VARIABLE, f"{tmp_path}/notify")
        systemd = SystemdNotifier()
        for _ in range(10_000):
            systemd.status("Loading.")
        received = 0
        with suppress(BlockingIOError):
            while unread.recv(4096):
                received += 1
    assert 0 < received < 10_000


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "{own}"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval_is_half_of_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], seconds: float | None
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(own=os.getpid()))
    with service_manager(f"{tmp_path}/notify") as manager:
        systemd = SystemdNotifier()
        assert systemd.watchdog_seconds == seconds
        systemd.notify_alive()
        assert manager.received() == ["WATCHDOG=1"]
    monkeypatch.delenv(VARIABLE, raising=False)
    assert SystemdNotifier().watchdog_seconds is None


def test_watchdog_is_not_reset_while_the_server_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def scenario(manager: ServiceManager) -> None:
        is_hung = False
        feeding = asyncio.create_task(SystemdNotifier().feed_watchdog(lambda: is_hung))
        await asyncio.sleep(0.1)
        assert set(manager.received()) == {"WATCHDOG=1"}
        is_hung = True
        await asyncio.sleep(0.05)
        manager.received()
        await asyncio.sleep(0.05)
        assert manager.received() == []
        feeding.cancel()

    with service_manager(f"{tmp_path}/notify") as manager:
        asyncio.run(scenario(manager))
