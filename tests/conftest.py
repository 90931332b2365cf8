"""What every test shares: folders of its own, and one real server for all that need one."""

import importlib.util
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from maritalk_vllm.models import demo_model
from maritalk_vllm.settings import environment_variable
from tests.demo_model import CHECKPOINTS, PROFILE, link_or_copy, made_by, make
from tests.service_manager import service_manager
from tests.serving import MARITALK_VARIABLES, NOBODY, Server, Startup, figures, observe_startup

LANES = frozenset({"unit", "engine", "clients", "page", "deploy", "chaos", "nodes"})
"""Each test is in exactly one. pyproject.toml says what they are; `core` and `nightly` are marked beside them."""

# Packages that one lane alone needs, and where: a newcomer's `make test` has none of them.
_FOLDER = Path(__file__).parent
_OPTIONAL = {"playwright": "playground/browser", "kubernetes_validate": "deploy"}
collect_ignore = [folder for package, folder in _OPTIONAL.items() if importlib.util.find_spec(package) is None]

_PROPERTIES = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, print_blob=True)
settings.register_profile("change", _PROPERTIES, max_examples=100, derandomize=True)
settings.register_profile("nightly", _PROPERTIES, max_examples=3000)
"""For each change the same examples, so that a failure is the change's; each night other ones."""


def pytest_configure() -> None:
    """Hear Ctrl-C: a shell ignores it for what runs in the background, and what the tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "change"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(figure)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test its lane, and put those that use the shared server last: before them others start engines."""
    for item in items:
        shares_server = "startup" in getattr(item, "fixturenames", ())
        if shares_server:
            item.add_marker("shares_server")
        lanes = LANES.intersection(mark.name for mark in item.iter_markers())
        if len(lanes) > 1:
            raise pytest.UsageError(f"{item.nodeid} is marked with more than one lane: {', '.join(sorted(lanes))}.")
        if not lanes:
            lane = "engine" if shares_server else "unit"
            if any(item.path.is_relative_to(_FOLDER / folder) for folder in _OPTIONAL.values()):
                raise pytest.UsageError(f"{item.nodeid} is in no lane that installs what this folder needs: mark it.")
            item.add_marker(lane)
    items.sort(key=lambda item: item.get_closest_marker("shares_server") is not None)


@pytest.fixture(scope="session")
def prepared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that has the demo model.

    The model is prepared once per machine, and again when its source, our code or a library that converts it changes.
    """
    kept = CHECKPOINTS / made_by()
    if not kept.exists():
        process = multiprocessing.get_context("spawn").Process(target=make, args=(kept,))
        process.start()
        process.join()
        assert process.exitcode == 0
    cache = tmp_path_factory.mktemp("prepared")
    shutil.copytree(kept, demo_model.folder(PROFILE, cache), copy_function=link_or_copy)
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
def startup(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Startup]:
    """The shared server, and what was seen of it while it started."""
    folder = tmp_path_factory.mktemp("server")
    with service_manager(str(folder / "notify")) as manager:
        # The name that some clients have written into them: tests/clients/redirect.py has them ask here by it.
        allowed = ("--allowed-host", "chat.maritaca.ai")
        server = Server(folder, "--cache-dir", str(prepared_cache), *allowed, port=9000)
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
