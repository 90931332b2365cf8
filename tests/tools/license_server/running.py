"""Starts the real licence service with its command."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import httpx

from maritalk_vllm.tools.license_server import audit_log
from maritalk_vllm.tools.license_server.database import Database
from tests.commands import start

READY_SECONDS = 60
"""Generous, for a busy machine; a start takes one or two seconds."""


class Running:
    """A running `maritalk-vllm license serve`, whose database this process has open too."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.file = folder / "data" / "licenses.db"
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        command = ["license", "serve", "--port", "0", "--database", self.file, *options]
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = start("maritalk-vllm", *command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        try:
            self.url = self._address()
        except AssertionError:
            self.process.kill()
            self.process.wait()
            raise
        self.database = Database(self.file)
        self.client = httpx.Client(base_url=self.url, timeout=60, verify=False, trust_env=False)

    def _address(self) -> str:
        deadline = time.monotonic() + READY_SECONDS
        while not (line := self.stdout.read_text()).endswith("\n"):
            assert self.process.poll() is None, self.stderr.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address, _, rest = line.removeprefix("Licence service on ").partition(", ")
        assert rest == f"database {self.file}\n"
        return address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        with self.database:
            assert self.stop() == 0, self.stderr.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the service and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()
            self.process.wait()

    def ask(self, key: str, prefer: str | None = None, **more: object) -> httpx.Response:
        """Request a link like the published client, or with our Prefer header."""
        headers = {} if prefer is None else {"Prefer": prefer}
        return self.client.post("/local/download", json={"license": key, **more}, headers=headers)

    def weights_link(self, key: str) -> str:
        answer = self.ask(key, "artifact=weights")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["presigned_url"])

    def last(self, number: int = 1) -> list[audit_log.Entry]:
        return audit_log.last(self.database, number)


def error(answer: httpx.Response) -> str:
    """The message of an error response."""
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    assert list(content) == ["error"]
    sentence: str = content["error"]
    assert sentence.endswith(".")
    return sentence
