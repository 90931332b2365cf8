"""The environment in which a page's commands are run: their files exist, and long commands are shortened."""

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from tests.documents.pages import ROOT, Step
from tests.serving import BIN, free_port
from tests.weights import archives

SERVER = "localhost:9000"
SERVICE = "https://licences.example.org:9100"
"""The address of a licence service in the pages."""

CLIENT_COMMANDS = {
    "maritalk-vllm batch submit": "--url http://127.0.0.1:{port}",
    "maritalk-vllm batch fetch": "--url http://127.0.0.1:{port}",
    "maritalk-vllm bench": "--url http://127.0.0.1:{port} --requests 2 --max-tokens 4",
    "maritalk-vllm chat": "--url http://127.0.0.1:{port}",
    "maritalk-vllm health": "--port {port}",
}
"""Our commands that connect to port 9000 by default, and the options that set the test's port and shorten the run."""

_KEY = re.compile(r"\b[A-Z0-9]{5}(?:-[A-Z0-9]{5}){3}\b")


@dataclass
class Place:
    """A folder with the files that pages name. `key` replaces KEY in commands; `server` and `service` are ports."""

    folder: Path
    server: int = 9000
    service: int = field(default_factory=free_port)
    key: str = "KEY"

    def __post_init__(self) -> None:
        home = self.folder / "home"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "maritalk").write_bytes(b"\x7fELF")  # stands in for MariTalk Local's own program
        self.checkpoint = archives.model(self.folder / "checkpoint")
        self.archive = archives.tar(self.checkpoint, self.folder / "small.tar")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "authority.pem")
        certificate = authority.issue_cert("localhost")
        certificate.private_key_pem.write_to_path(self.folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "cert.pem")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user with a home in this folder and our programs on the PATH."""
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        home = self.folder / "home"
        own = {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "XDG_DATA_HOME": home / ".local" / "share"}
        path = f"{BIN}:{os.environ['PATH']}"
        authority = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE"), str(self.folder / "authority.pem"))
        return {**kept, **{name: str(value) for name, value in own.items()}, **authority, "PATH": path}

    def real(self, step: Step) -> str:
        """The command as the tests run it."""
        command = step.command
        for named, real in {
            SERVER: f"localhost:{self.server}",
            SERVICE: f"https://localhost:{self.service}",
            "/path/to/checkpoint": str(self.checkpoint),
            "/srv/weights/small.tar": str(self.archive),
            "--head 10.0.0.1": "--head 127.0.0.1",  # the leader's address has to be one of this machine
        }.items():
            command = command.replace(named, real)
        command = re.sub(r"\bKEY\b", self.key, command)
        # Nothing is built, and no server is left running: the tests check that each command is accepted.
        command = re.sub(r"^make ", f"make --dry-run --directory {shlex.quote(str(ROOT))} ", command)
        if re.match(r"maritalk-serve (?!--help|--version)", command):
            # The shared server may use the documented port.
            command = command.replace("maritalk-serve ", "maritalk-serve --dry-run --port 0 ", 1)
            command = command.replace(" --port 9000", "")
        command = re.sub(r"^maritalk-vllm doctor ", "maritalk-vllm doctor --port 0 ", command)
        for name, options in CLIENT_COMMANDS.items():
            command = command.replace(name, f"{name} {options.format(port=self.server)}")
        if command.startswith("maritalk-vllm license serve"):
            command += f" --port {self.service} >service.log 2>&1 & until (: </dev/tcp/localhost/{self.service}); do "
            command += "kill -0 $! || break; sleep 0.05; done 2>/dev/null; kill -0 $!"
        if step.output is None:
            command = re.sub(r"^curl ", "curl --no-progress-meter --fail-with-body ", command)
        return command

    def learn(self, output: str) -> None:
        """Use a key in this output for KEY in later commands."""
        if found := _KEY.search(output):
            self.key = found[0]
