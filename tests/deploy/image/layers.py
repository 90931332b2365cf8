"""Build stages as overlay layers with chroot, in place of `docker build`."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.deploy.image.access import Access
from tests.deploy.image.context import Context
from tests.deploy.image.dockerfile import Image, Stage, Step

_SOURCES = """deb {mirror}/debian {suite} main
deb {mirror}/debian {suite}-updates main
deb {mirror}/debian-security {suite}-security main
"""


class Layers:
    """A builder of a Dockerfile. Its mounts end with the mount namespace that `__main__` creates."""

    def __init__(self, folder: Path, context: Context, access: Access, *, rebuild: bool = True) -> None:
        """`rebuild` false: use the layers that an earlier build has left in the folder."""
        self._folder, self._context, self._access, self._rebuild = folder, context, access, rebuild
        self.lower: dict[str, list[Path]] = {}
        """The layers of each stage and of each base image, the uppermost first."""

    def root(self, stage: str) -> Path:
        """The root folder of a stage."""
        return self._folder / stage / "root"

    def begin(self, stage: Stage) -> None:
        if stage.base not in self.lower:
            self.lower[stage.base] = [debian(stage.base, self._folder / "base")]
        upper, work = (self._folder / stage.name / name for name in ("layer", "work"))
        for path in (upper, work, self.root(stage.name)):
            if self._rebuild:
                shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, exist_ok=True)
        mount_overlay(self.root(stage.name), self.lower[stage.base], upper, work)
        self.lower[stage.name] = [upper, *self.lower[stage.base]]

    def run(self, stage: Stage, image: Image, step: Step) -> None:
        """Run a step in a chroot with its mounts: the secret `pip` and pip's cache."""
        if not self._rebuild:
            return
        root = self.root(stage.name)
        binds = [(path, str(path)) for path in self._access.binds]
        for flag, value in step.flags:
            mount = dict(part.split("=", 1) for part in value.split(","))
            assert flag == "mount", flag
            if mount["type"] == "secret":
                assert mount["id"] == "pip"
                binds.append((self._access.pip_configuration, mount["target"]))
                binds += [(path, str(path)) for path in self._access.pip_binds]
            else:
                assert mount["type"] == "cache", mount
                binds.append((self._access.pip_cache, mount["target"]))
        script = ["set -e", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for source, target in binds:
            place = root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                place.mkdir(exist_ok=True)
            elif not place.exists():
                place.touch()
            script.append(f"mount --bind {source} {place}")
        environment = {"HOME": "/root", "APT_CONFIG": str(self._access.apt_configuration)}
        environment |= image.environment | image.arguments
        pairs = [f"{name}={value}" for name, value in environment.items()]
        script.append(f'cd {root} && exec chroot {root} env -i "$@"')
        separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script), "sh"]
        command = ["--chdir", image.folder, *pairs, "/bin/sh", "-c", step.value]
        subprocess.run([*separate, *command], check=True)

    def copy(self, stage: Stage, origin: str | None, sources: list[str], target: str) -> None:
        if not self._rebuild:
            return
        into = self.root(stage.name) / target.lstrip("/")
        if origin is not None:
            (source,) = sources
            subprocess.run(["cp", "-a", self.root(origin) / source.lstrip("/"), into], check=True)
            return
        for source in sources:
            start = self._context.root / source
            for file in self._context.files(source):
                place = into / (file.relative_to(start) if start.is_dir() else file.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)

    def make_folder(self, stage: Stage, path: str) -> None:
        (self.root(stage.name) / path.lstrip("/")).mkdir(parents=True, exist_ok=True)


def suite(image: str) -> str:
    """The Debian release of an image: `bookworm` of debian:bookworm-20261005-slim."""
    found = re.fullmatch(r"debian:([a-z]+)-\d{8}-slim(@sha256:[0-9a-f]{64})?", image)
    assert found, f"{image} is no image of Debian, and only that can be made rebuild here"
    return found[1]


def debian(image: str, folder: Path, mirror: str = "http://deb.debian.org") -> Path:
    """Create the root of a Debian image by debootstrap, with the same packages and sources. It is reused."""
    name = suite(image)
    root = folder / name
    if not root.exists():
        begun = folder / f"{name}.begun"
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        command: list[str | Path] = ["debootstrap", "--variant=minbase", name, begun, f"{mirror}/debian"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (begun / "etc/apt/sources.list").write_text(_SOURCES.format(mirror=mirror, suite=name))
        shutil.rmtree(begun / "var/cache/apt/archives")
        (begun / "var/cache/apt/archives/partial").mkdir(parents=True)
        begun.rename(root)
    return root


def mount_overlay(at: Path, lower: list[Path], upper: Path, work: Path) -> None:
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, at], check=True)


def size(root: Path) -> int:
    """Size in bytes of all files in a folder, on one file system."""
    counted = subprocess.run(["du", "-sxB1", root], capture_output=True, text=True, check=True)
    return int(counted.stdout.split()[0])
