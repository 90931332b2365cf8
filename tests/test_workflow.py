"""The CI workflow and the pre-commit hooks run scripts, tools and files that exist."""

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.documents.pages import ROOT, make_targets

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def commands() -> Iterator[list[str]]:
    """The workflow's commands, except those that install system packages."""
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            if "apt-get" not in (command := step.get("run", "apt-get")):
                yield shlex.split(command)


def test_the_workflow_runs_scripts_of_this_repository() -> None:
    for program, *words in commands():
        if program == "make":
            assert set(words) <= make_targets()
        else:
            assert os.access(ROOT / program, os.X_OK), program
    assert {tuple(command) for command in commands()} == {
        (".ci/run",),
        ("make", "test-unit", "test-commands", "test-stub"),
        ("make", "nightly"),
    }


def test_every_python_of_the_package_runs_the_unit_lane() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert WORKFLOW["jobs"]["unit"]["strategy"]["matrix"]["python"] == supported


def test_the_workflow_has_only_read_permission() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())


def test_hooks_use_tools_of_the_locked_environment() -> None:
    """A hook from another repository would pin a version of its own."""
    wanted = (ROOT / "requirements" / "dev.in").read_text().splitlines()
    for repository in HOOKS:
        assert repository["repo"] == "local"
        hook: dict[str, Any]
        for hook in repository["hooks"]:
            program, *words = shlex.split(hook["entry"])
            assert Path(program).parent == Path(".venv/bin")
            tool = words[1] if words[:1] == ["-m"] else Path(program).name
            assert tool in wanted
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
