"""What runs before a commit and after a push: the same scripts as by hand, and programs and files that are there."""

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
    """All that the workflow runs, without what installs packages of the system."""
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            if "apt-get" not in (command := step.get("run", "apt-get")):
                yield shlex.split(command)


def test_it_runs_scripts_of_this_repository() -> None:
    for program, *words in commands():
        if program == "make":
            assert set(words) <= make_targets()
        else:
            assert os.access(ROOT / program, os.X_OK), program
    assert {tuple(command) for command in commands()} == {(".ci/run",), ("make", "test-unit"), ("make", "nightly")}


def test_every_python_of_the_package_runs_the_unit_lane() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert WORKFLOW["jobs"]["unit"]["strategy"]["matrix"]["python"] == supported


def test_it_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in WORKFLOW["jobs"].values())


def test_hooks_take_their_tools_from_the_locked_environment() -> None:
    """None comes from another repository, which would pin a version of its own."""
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
