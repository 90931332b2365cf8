"""Run every command of the documents in the order of its page, and compare its output with the page.

Of a translation, the blocks run that show what our commands print in Portuguese; none of them needs a server.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.tools.license_server import license_keys, weights_archive
from tests.documents.pages import ORIGINALS, PAGES, TRANSLATIONS, Step, blocks, is_ours, steps, steps_of
from tests.documents.place import CLIENT_COMMANDS, SERVER, SERVICE, Place
from tests.documents.printed import same
from tests.documents.shell import Shell
from tests.documents.unrun import UNRUN
from tests.serving import Server
from tests.tools.license_server.running import Running


def printing_steps(page: str) -> Iterator[Step]:
    """The steps of each console block with our commands."""
    for block in blocks(page):
        found = list(steps_of(block)) if block.language == "console" else []
        if any(map(is_ours, found)):
            yield from found


RUN = {page: found for page in ORIGINALS if (found := [step for step in steps(page) if step.command not in UNRUN])}
IN_PORTUGUESE = {page: found for page in TRANSLATIONS.values() if (found := list(printing_steps(page)))}


def mentions(page: str, *words: str) -> bool:
    return any(word in step.command for step in RUN[page] for word in words)


WITH_SERVER = [page for page in RUN if mentions(page, SERVER, *CLIENT_COMMANDS)]
WITH_SERVICE = [page for page in RUN if mentions(page, SERVICE) and not mentions(page, "license serve")]
ALONE = [page for page in RUN if page not in WITH_SERVER + WITH_SERVICE]


def run(found: list[Step], place: Place, **environment: str) -> None:
    with Shell(place.folder, {**place.environment, **environment}) as shell:
        for step, status in expected(found):
            printed, ended = shell.run(place.real(step))
            assert ended == status, f"{step.command}\n{printed}"
            if step.output is not None:
                # Plans for hypothetical GPUs are the same on every machine.
                exact = "--gpus " in step.command or "--suggest" in step.command
                assert same(printed, step.output, exact=exact), f"{step.command}\n{printed}"
            place.learn(printed)


def expected(found: list[Step]) -> Iterator[tuple[Step, int]]:
    """Each step and its expected exit status: that of a following `echo $?`, otherwise 0."""
    for step, after in zip(found, [*found[1:], Step("")], strict=True):
        yield step, int(after.output or 0) if after.command == "echo $?" else 0


@pytest.mark.commands
@pytest.mark.parametrize("page", ALONE)
def test_the_commands_of_a_page(page: str, tmp_path: Path) -> None:
    run(RUN[page], Place(tmp_path))


@pytest.mark.commands
@pytest.mark.parametrize("page", IN_PORTUGUESE)
def test_the_commands_of_a_page_in_portuguese(page: str, tmp_path: Path) -> None:
    run(IN_PORTUGUESE[page], Place(tmp_path), MARITALK_LANG="pt")


@pytest.mark.commands
@pytest.mark.parametrize("page", WITH_SERVICE)
def test_the_commands_of_a_page_that_uses_a_licence_service(page: str, tmp_path: Path) -> None:
    place = Place(tmp_path)
    certificate = ["--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem")]
    (tmp_path / "service").mkdir()
    with Running(tmp_path / "service", *certificate) as service:
        place.service = service.client.base_url.port or 0
        place.key = license_keys.add(service.database, ("small",))
        weights_archive.register(service.database, weights_archive.read("small", place.archive))
        run(RUN[page], place)


@pytest.mark.parametrize("page", WITH_SERVER)
def test_the_commands_of_a_page_that_uses_a_server(page: str, tmp_path: Path, shared_server: Server) -> None:
    run(RUN[page], Place(tmp_path, server=shared_server.port))


def test_every_excluded_command_is_in_a_page() -> None:
    written = {step.command for page in PAGES for step in steps(page)}
    assert set(UNRUN) <= written
