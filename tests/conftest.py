"""What every test shares: folders of its own, and one real server for all that need one."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.models import demo
from maritalk_vllm.settings import environment_variable
from tests.demo_model import PROFILE, link_or_copy, made_by, make
from tests.service_manager import service_manager
from tests.serving import MARITALK_VARIABLES, NOBODY, Server, Startup, figures, observe_startup


def pytest_configure() -> None:
    """Hear Ctrl-C: a shell ignores it for what runs in the background, and what the tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(figure)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, then those that start processes of their own, last those that share one server."""

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        shares = "startup" in getattr(item, "fixturenames", ())
        if shares:
            item.add_marker(pytest.mark.engine)
        return shares, item.get_closest_marker("engine") is not None

    items.sort(key=turn)


@pytest.fixture(scope="session")
def prepared_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which the demo model is ready, for servers that come before the shared one.

    The model is made once for all runs of the tests, and anew when anything changes that has a part in it.
    """
    assert request.config.cache is not None
    kept = request.config.cache.mkdir("demo") / made_by()
    process = multiprocessing.get_context("spawn").Process(target=make, args=(kept,))
    process.start()
    process.join()
    assert process.exitcode == 0
    cache = tmp_path_factory.mktemp("prepared")
    shutil.copytree(kept, demo.folder(PROFILE, cache), copy_function=link_or_copy)
    return cache


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and no server that tests share, reads or writes the user's own folders and options."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in MARITALK_VARIABLES & os.environ.keys():
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        # What is said is English here, wherever a developer is at home.
        patch.setenv(environment_variable("lang"), "en")
        # Nobody listens there: no test asks a licence service other than its own.
        patch.setenv(environment_variable("license_service"), NOBODY)
        yield


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1 that plays the fleet which a file describes."""
    from tests.hardware.fleet import compile_nvml

    return compile_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def startup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Startup]:
    """The shared server, and what was seen of it while it started: the demo model's preparation is part of it."""
    folder = tmp_path_factory.mktemp("server")
    with service_manager(str(folder / "notify")) as manager:
        server = Server(folder, "--cache-dir", str(folder / "cache"), port=9000)
        try:
            seen = observe_startup(server)
            seen.told = manager.heard()
            yield seen
        finally:
            server.stop()


@pytest.fixture(scope="session")
def shared_server(startup: Startup) -> Server:
    """A server on the real engine, ready, for all tests that only ask it something."""
    return startup.server
