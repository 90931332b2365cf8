"""How this machine reaches packages, and what of that a build is given: mirrors and proxies, without naming one."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_NOT_APT = ("Acquire::IndexTargets", "Acquire::cdrom", "Acquire::CompressionTypes")


@dataclass(frozen=True)
class Access:
    """`binds` are paths of this machine that every step sees at the same place; `pip_binds`, those that use pip."""

    pip_configuration: Path
    apt_configuration: Path
    pip_cache: Path
    binds: tuple[Path, ...]
    pip_binds: tuple[Path, ...]


def of_this_machine(folder: Path) -> Access:
    """Its configuration of pip and apt, written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = pip_settings(_output(sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"))
    pip = folder / "pip.conf"
    pip.write_text("".join(["[global]\n", *(f"{name} = {value}\n" for name, value in settings.items())]))
    apt = folder / "apt.conf"
    apt.write_text("".join(f"{line}\n" for line in apt_settings(_output("apt-config", "dump"))))
    cache = folder / "pip-cache"
    cache.mkdir(exist_ok=True)
    named = [path for value in settings.values() for path in paths(value) if path.exists()]
    return Access(pip, apt, cache, (apt, Path("/etc/resolv.conf"), Path("/etc/hosts")), tuple(named))


def pip_settings(listing: str) -> dict[str, str]:
    """What `pip config list` shows. The environment's, which it shows as `:env:`, goes before files."""
    found = re.findall(r"^(\S+)\.([\w-]+)=(.*)$", listing, re.MULTILINE)
    in_order = sorted(found, key=lambda each: each[0] == ":env:")
    return {name: " ".join(shlex.split(value)[0].replace("\\n", " ").split()) for _, name, value in in_order}


def apt_settings(dump: str) -> list[str]:
    """Of `apt-config dump` how packages are fetched."""
    return [line for line in dump.splitlines() if line.startswith("Acquire::") and not line.startswith(_NOT_APT)]


def paths(value: str) -> list[Path]:
    """The files and folders that a setting names. An index that is a folder has its files beside it."""
    found = []
    for word in value.split():
        if word.startswith("file:///"):
            found.append(Path(word.removeprefix("file://")).parent)
        elif word.startswith("/"):
            found.append(Path(word))
    return found


def _output(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
