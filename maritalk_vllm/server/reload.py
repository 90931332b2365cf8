"""What the supervisor reads again while it runs, for all processes. What was good last holds until the next."""

import logging
from dataclasses import replace

from ..settings import Settings
from .access import certificate_of
from .certificate import Certificate
from .keys import KeyFile, read_key_file
from .launch import Launch
from .watched import Watched

LOOK_SECONDS = 0.5
"""Between two looks at the files. A change is taken over when two looks have found the same."""

_EMPTY = "The file of API keys holds no key: no key of it is valid."
_BAD = {
    "api_keys": "The file of API keys cannot be used: the keys that were read before stay valid.",
    "certificate": "The certificate's files cannot be used: the certificate that was read before stays in use.",
}

_log = logging.getLogger(__name__)


class Reload:
    """A launch, as its files are now."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.problems: dict[str, str] = {}
        """By what is looked at: what is wrong with it, in a sentence without any name; empty if it is in order."""
        self._details: dict[str, str] = {}
        self._watch(launch.settings)

    def look(self, *, at_once: bool = False) -> bool:
        """Whether `launch` has changed, or what is wrong. `at_once`: what the files hold at this moment counts."""
        before = self.launch, dict(self.problems)
        if self._keys is not None:
            if self._keys.look(at_once=at_once):
                for warning in self._keys.value.warnings:
                    _log.warning(warning)
            self.found("api_keys", self._key_problem(self._keys), self._keys.trouble)
        if self._certificate is not None:
            self._certificate.look(at_once=at_once)
            trouble = self._certificate.trouble
            self.found("certificate", _BAD["certificate"] if trouble else "", trouble)
        access = self.launch.access
        changed = replace(
            access,
            file_keys=self._keys.value.keys if self._keys else access.file_keys,
            certificate=self._certificate.value if self._certificate else access.certificate,
        )
        if changed != access:
            self.launch = replace(self.launch, access=changed)
        return (self.launch, self.problems) != before

    def again(self) -> None:
        """Decide the start once more, by the weights that have come meanwhile. Raises MariTalkError."""
        launch = self.launch
        self.launch = launch.again(launch.settings, launch.access)

    def found(self, name: str, problem: str, detail: str = "") -> bool:
        """What is wrong with one of them now; whether that is new, which the log is told. `detail` is for it alone."""
        changed = (problem, detail) != (self.problems.get(name, ""), self._details.get(name, ""))
        if changed:
            if problem:
                _log.warning(f"{problem} {detail}".rstrip())
            else:
                _log.warning(f"In order again: {name}.")
        self.problems[name], self._details[name] = problem, detail
        return changed

    def _watch(self, settings: Settings) -> None:
        """Look at the files that these settings name, of which the launch has the content."""
        self._keys: Watched[KeyFile] | None = None
        self._certificate: Watched[Certificate] | None = None
        access = self.launch.access
        if (file := settings.api_key_file) is not None:

            def read() -> KeyFile:
                # The last key is revoked by a file without any: only one that cannot be read changes nothing.
                return read_key_file(file, may_be_empty=True)

            self._keys = Watched([file], read, KeyFile(access.file_keys or {}, access.warnings))
        if access.certificate is not None and settings.ssl_certfile is not None and settings.ssl_keyfile is not None:
            files = [settings.ssl_certfile, settings.ssl_keyfile]
            self._certificate = Watched(files, lambda: _pair(settings), access.certificate)

    @staticmethod
    def _key_problem(keys: Watched[KeyFile]) -> str:
        if keys.trouble:
            return _BAD["api_keys"]
        return "" if keys.value.keys else _EMPTY


def _pair(settings: Settings) -> Certificate:
    certificate = certificate_of(settings)
    assert certificate is not None
    return certificate
