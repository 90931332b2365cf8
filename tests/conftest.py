"""Fixtures for all tests: isolated folders, and one real server that tests share."""

import gc
import importlib.util
import multiprocessing
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from maritalk_vllm.models import demo_model
from maritalk_vllm.settings import environment_variable
from tests import commands
from tests.demo_model import CHECKPOINTS, PROFILE, fingerprint, link_or_copy, make
from tests.service_manager import service_manager
from tests.serving import MARITALK_VARIABLES, UNREACHABLE_URL, Server, Startup, figures, note, observe_startup

LANES = frozenset({"unit", "commands", "stub", "engine", "clients", "page", "deploy", "chaos", "nodes", "cuda"})
"""Each test is in exactly one lane. pyproject.toml describes them; `core` and `nightly` are additional markers."""

# Packages that a single lane needs, and its folder. `make test` in a fresh checkout installs none of them.
_FOLDER = Path(__file__).parent
_OPTIONAL = {"playwright": "playground/browser", "kubernetes_validate": "deploy"}
collect_ignore = [folder for package, folder in _OPTIONAL.items() if importlib.util.find_spec(package) is None]

_PROPERTIES = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None, print_blob=True)
settings.register_profile("change", _PROPERTIES, max_examples=100, derandomize=True)
settings.register_profile("nightly", _PROPERTIES, max_examples=3000)
"""Derandomized for each change, so that the change causes any new failure; new examples each night."""


def pytest_configure() -> None:
    """Restore SIGINT: a shell ignores it for background jobs, and processes that tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "change"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Server.started:
        note(f"maritalk-serve: {len(Server.started)} starts")
    if figures:
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(figure)


def _lane_without_engine(item: pytest.Item) -> str:
    """The lane of a test that names none and uses no engine, which follows from its file."""
    if item.path.name.startswith("test_stub_engine_"):
        return "stub"
    assert isinstance(item, pytest.Function)
    imported = {id(value) for value in vars(item.module).values()}
    return "unit" if imported.isdisjoint({id(commands), id(commands.run), id(commands.start)}) else "commands"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its lane. Tests of the shared server run last: those before start engines of their own."""
    for item in items:
        shares_server = "startup" in getattr(item, "fixturenames", ())
        if shares_server:
            item.add_marker("shares_server")
        lanes = LANES.intersection(mark.name for mark in item.iter_markers())
        if len(lanes) > 1:
            raise pytest.UsageError(f"{item.nodeid} is marked with more than one lane: {', '.join(sorted(lanes))}.")
        if not lanes:
            lane = "engine" if shares_server else _lane_without_engine(item)
            if any(item.path.is_relative_to(_FOLDER / folder) for folder in _OPTIONAL.values()):
                raise pytest.UsageError(f"{item.nodeid} is in no lane that installs what this folder needs: mark it.")
            item.add_marker(lane)
    items.sort(key=lambda item: item.get_closest_marker("shares_server") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Kill what a failed test leaves of the servers that it has started itself. Fixtures stop theirs."""
    before = len(Server.started)
    try:
        yield
    except BaseException:
        for server in Server.started[before:]:
            server.kill()
        raise


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting all modules and tests again each time that a test calls it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def prepared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the prepared demo model.

    The model is prepared once per machine, and again when its source, our code or a conversion library changes.
    """
    kept = CHECKPOINTS / fingerprint()
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
    """Keep tests and the shared server from reading or writing the user's own folders and options."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in MARITALK_VARIABLES & os.environ.keys():
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        # Of a locale that is not installed, bash warns.
        for name in ("LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANGUAGE"):
            patch.delenv(name, raising=False)
        patch.setenv("LANG", "C.UTF-8")
        # Messages are in English in any locale of the developer.
        patch.setenv(environment_variable("lang"), "en")
        # Nothing listens at this address, so that no test reaches a licence service other than its own.
        patch.setenv(environment_variable("license_service"), UNREACHABLE_URL)
        yield


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake libnvidia-ml.so.1, which reports the GPUs that a file describes."""
    from tests.hardware.fleet import compile_nvml

    return compile_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def startup(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Startup]:
    """The shared server, and what was observed while it started."""
    folder = tmp_path_factory.mktemp("server")
    with service_manager(str(folder / "notify")) as manager:
        # Some clients have this host name hard-coded; tests/clients/redirect.py redirects them to this server.
        allowed = ("--allowed-host", "chat.maritaca.ai")
        server = Server(folder, "--cache-dir", str(prepared_cache), *allowed, port=9000)
        try:
            seen = observe_startup(server)
            seen.notifications = manager.received()
            yield seen
        finally:
            server.stop()


@pytest.fixture(scope="session")
def shared_server(startup: Startup) -> Server:
    """A ready server with the real engine, for tests that only send it requests."""
    return startup.server
