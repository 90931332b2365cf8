"""Reads the lock files in requirements/."""

import re

from packaging.markers import Marker
from packaging.requirements import Requirement

from tests.documents.pages import ROOT

REQUIREMENTS = ROOT / "requirements"


def entries(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each pinned requirement and its hashes."""
    text = re.sub(r"^#.*\n", "", (REQUIREMENTS / lock).read_text(), flags=re.MULTILINE).replace(" \\\n", " ")
    found = []
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        found.append((Requirement(requirement), hashes))
    return found


def pins(lock: str, python: str) -> dict[str, str]:
    """Name and version of each package that the lock installs on this Python, such as `3.11`."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    chosen = [
        each for each, _ in entries(lock) if (each.marker or Marker("python_version > '0'")).evaluate(environment)
    ]
    found = {each.name: str(each.specifier).removeprefix("==") for each in chosen}
    assert len(found) == len(chosen), f"{lock} pins a package twice for Python {python}"
    return found
