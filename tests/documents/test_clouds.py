"""The pages on clouds: their figures match the planner's, and the files that they copy and install exist."""

import re
from collections.abc import Iterator

import pytest

from maritalk_vllm import __version__
from tests.commands import run
from tests.documents.pages import ROOT, read, steps

PAGES = ("docs/google-cloud.md", "docs/oracle-cloud.md")
TRANSLATED = "docs/nuvem-google.md"
GPUS = {"L4": "L4", "A10": "A10", "A100 (40 GB)": "A100-40GB", "A100 (80 GB)": "A100-80GB"}


def rows() -> Iterator[tuple[str, ...]]:
    """Each machine: model, GPUs as an argument of `plan`, replicas, and users at full context."""
    for page in PAGES:
        for model, count, gpu, users in re.findall(
            r"^\| MariTalk (\w+(?:, two replicas)?) \| `[\w.-]+` \| (\d) x (\w+(?: \(\d\d GB\))?).* \| ([\d.]+) \|$",
            read(page).replace(" (24 GB)", ""),
            re.MULTILINE,
        ):
            yield model.partition(",")[0].lower(), f"{count}x{GPUS[gpu]}", "2" if "," in model else "1", users


def test_every_machine_of_the_pages_is_parsed() -> None:
    machines = [line for page in PAGES for line in read(page).splitlines() if line.startswith("| MariTalk ")]
    assert len(list(rows())) == len(machines) == 8


@pytest.mark.parametrize(("model", "gpus", "replicas", "users"), list(rows()))
def test_a_machine_has_the_planned_users(model: str, gpus: str, replicas: str, users: str) -> None:
    result = run("maritalk-vllm", "plan", "--model", model, "--gpus", gpus, "--replicas", replicas)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^users at full context +(.+)$", result.stdout, re.MULTILINE) == [users]


@pytest.mark.parametrize("page", PAGES)
def test_installed_files_exist_and_were_copied(page: str) -> None:
    commands = [step.command for step in steps(page)]
    (copied,) = (re.findall(r"dist/\S+|deploy/\S+", command) for command in commands if "scp " in command)
    wheel, *files = copied
    assert wheel == f"dist/maritalk_vllm-{__version__}-py3-none-any.whl"
    assert all((ROOT / file).is_file() for file in files)
    names = {wheel.removeprefix("dist/"), *(file.rpartition("/")[2] for file in files)}
    installed = re.findall(r"install -m \d+ ([\w.-]+) |\./(\S+\.whl)", "\n".join(commands))
    assert {one or other for one, other in installed} == names


def test_clouds_and_systemd_have_the_same_installation() -> None:
    """Except for the sources of the files and the licence."""

    def installation(page: str) -> list[str]:
        commands = [step.command for step in steps(page)]
        own = ("pip install", "deploy/systemd/", "install -m 0600 environment", "maritalk-vllm.service /", "/license")
        begin = next(at for at, command in enumerate(commands) if "python3-venv" in command)
        end = next(at for at, command in enumerate(commands) if "enable --now" in command)
        return [command for command in commands[begin : end + 1] if not any(word in command for word in own)]

    google, oracle = map(installation, PAGES)
    assert google == oracle == installation("docs/systemd.md")
    assert len(google) == 8


def test_the_service_is_started_after_options_and_checks() -> None:
    """systemd does not restart a service whose options were rejected."""
    for page in PAGES:
        commands = [step.command for step in steps(page)]
        edit, checks, start = (
            next(at for at, command in enumerate(commands) if words in command)
            for words in ("sudo -e /etc/maritalk-vllm/environment", " doctor --license ", "enable --now")
        )
        assert edit < checks < start


def test_the_translation_has_the_same_figures() -> None:
    def figures(page: str) -> list[str]:
        return [line for line in read(page).splitlines() if line.startswith("| MariTalk ")]

    assert [re.sub(r"(\d),(\d)", r"\1.\2", line) for line in figures(TRANSLATED)] == figures(PAGES[0])
    assert not any(re.search(r"\d\.\d", line) for line in figures(TRANSLATED))
