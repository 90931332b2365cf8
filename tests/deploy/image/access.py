"""This machine's package mirrors and proxies, from the configuration of pip and apt, for use in a build."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_NOT_APT = ("Acquire::IndexTargets", "Acquire::cdrom", "Acquire::CompressionTypes")


@dataclass(frozen=True)
class Access:
    """`binds` are host paths that every step sees at the same path; `pip_binds`, only steps that use pip."""

    pip_configuration: Path
    apt_configuration: Path
    pip_cache: Path
    binds: tuple[Path, ...]
    pip_binds: tuple[Path, ...]


def of_this_machine(folder: Path) -> Access:
    """Write this machine's configuration of pip and apt into a folder."""
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
    """Parse `pip config list`. Environment variables, shown as `:env:`, take precedence over files."""
    found = re.findall(r"^(\S+)\.([\w-]+)=(.*)$", listing, re.MULTILINE)
    in_order = sorted(found, key=lambda each: each[0] == ":env:")
    return {name: " ".join(shlex.split(value)[0].replace("\\n", " ").split()) for _, name, value in in_order}


def apt_settings(dump: str) -> list[str]:
    """The download settings in `apt-config dump`."""
    return [line for line in dump.splitlines() if line.startswith("Acquire::") and not line.startswith(_NOT_APT)]


def paths(value: str) -> list[Path]:
    """The local files and folders that a setting names. For an index folder, its parent, which has the files."""
    found = []
    for word in value.split():
        if word.startswith("file:///"):
            found.append(Path(word.removeprefix("file://")).parent)
        elif word.startswith("/"):
            found.append(Path(word))
    return found


def _output(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
