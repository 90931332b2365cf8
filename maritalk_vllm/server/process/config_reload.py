"""The files that the supervisor reads again while it runs, for all processes. The last good content stays in use."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...errors import UsageError
from ...http.certificate import Certificate
from ...settings import OPTIONS, Settings, flag
from ..middleware.access_config import load_certificate
from ..middleware.api_keys import KeyFile, hash_key, read_key_file
from ..startup.launch import Launch
from .watched_file import WatchedFile

LOOK_SECONDS = 0.5
"""Between two looks at the files. A change is taken over when two looks have found the same."""

_EMPTY = "The file of API keys holds no key: no key of it is valid."
_BAD = {
    "config": "The configuration file cannot be used: the options that were read before stay in use.",
    "api_keys": "The file of API keys cannot be used: the keys that were read before stay valid.",
    "certificate": "The certificate's files cannot be used: the certificate that was read before stays in use.",
}

CHANGEABLE = (
    *("api_key", "api_key_file", "ssl_certfile", "ssl_keyfile"),
    *("open_status", "requests_per_minute", "tokens_per_minute", "answers_per_key"),
    *("max_body_mb", "no_access_log", "drain_timeout", "start_timeout", "engine_timeout", "api_timeout"),
    *("log_max_mb", "log_backups"),
)
"""The options that SIGHUP takes over from a configuration file."""

_log = logging.getLogger(__name__)


class ConfigReload:
    """A launch, as its files are now."""

    def __init__(self, launch: Launch, config: Path | None = None, again: Callable[[], Settings] | None = None) -> None:
        """`again` reads the settings anew, of which some are in the file `config`."""
        self.launch = launch
        self._config = (
            WatchedFile([config], again, launch.settings) if config is not None and again is not None else None
        )
        self.problems: dict[str, str] = {}
        """The problem of each file that is watched, in a sentence without names; empty if it is in order."""
        self._details: dict[str, str] = {}
        self._refused = ""
        """Why the last SIGHUP did not take the configuration over; empty if it did."""
        self._watch(launch.settings)

    def look(self, *, at_once: bool = False) -> bool:
        """Whether `launch` or the problems have changed. `at_once`: the files count as they are at this moment."""
        before = self.launch, dict(self.problems)
        if self._config is not None:
            # It holds from a SIGHUP on; its problems are reported before.
            self._config.look(at_once=at_once)
            trouble = self._config.trouble or self._refused
            self.found("config", _BAD["config"] if trouble else "", trouble)
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

    def reload(self) -> None:
        """As after SIGHUP: with the settings as they are now, if all of them can be used, and files at this moment."""
        if self._config is not None:
            self._config.look(at_once=True)
            self._refused = ""
            if not self._config.trouble:
                try:
                    self._change(self._config.value)
                except UsageError as error:
                    self._refused = error.message
        self.look(at_once=True)
        _log.warning("What can change was read again, as SIGHUP asked.")

    def _change(self, wanted: Settings) -> None:
        """Take over the options that can change while it serves. Raises UsageError, and changes nothing, otherwise."""
        launch, old = self.launch, self.launch.settings
        new = replace(old, **{name: getattr(wanted, name) for name in CHANGEABLE})
        if bool(old.api_key or old.api_key_file) and not (new.api_key or new.api_key_file):
            # A line that was lost in a file must not open the server to everyone.
            new = replace(new, api_key=old.api_key, api_key_file=old.api_key_file)
        if (old.ssl_certfile is None) != (new.ssl_certfile is None):
            new = replace(new, ssl_certfile=old.ssl_certfile, ssl_keyfile=old.ssl_keyfile)
        later = [name for name in OPTIONS if getattr(new, name) != getattr(wanted, name)]
        if later:
            _log.warning(f"What is new of these options holds from the next start on: {', '.join(map(flag, later))}.")
        if new == old:
            return
        access = launch.access.with_limits(new)
        if new.api_key_file != old.api_key_file:
            access = replace(access, file_keys=read_key_file(new.api_key_file).keys if new.api_key_file else None)
        if (new.ssl_certfile, new.ssl_keyfile) != (old.ssl_certfile, old.ssl_keyfile):
            access = replace(access, certificate=load_certificate(new))
        access = replace(access, digests=tuple(map(hash_key, new.api_key)))
        self.launch = replace(launch, settings=new, access=access)
        self._watch(new)

    def again(self) -> None:
        """Decide the start once more, by the weights that have come meanwhile. Raises MariTalkError."""
        launch = self.launch
        self.launch = launch.resolve_again(launch.settings, launch.access)

    def found(self, name: str, problem: str, detail: str = "") -> bool:
        """Report the problem of one of them, empty for none. Whether it is new; then the log has it with `detail`."""
        changed = (problem, detail) != (self.problems.get(name, ""), self._details.get(name, ""))
        if changed:
            if problem:
                _log.warning(f"{problem} {detail}".rstrip())
            else:
                _log.warning(f"In order again: {name}.")
        self.problems[name], self._details[name] = problem, detail
        return changed

    def _watch(self, settings: Settings) -> None:
        """Look at the files that these settings name, of which the launch has the content, and at no others."""
        self._keys: WatchedFile[KeyFile] | None = None
        self._certificate: WatchedFile[Certificate] | None = None
        access = self.launch.access
        if (file := settings.api_key_file) is not None:

            def read() -> KeyFile:
                # The last key is revoked by a file without any: only one that cannot be read changes nothing.
                return read_key_file(file, may_be_empty=True)

            self._keys = WatchedFile([file], read, KeyFile(access.file_keys or {}, access.warnings))
        if access.certificate is not None and settings.ssl_certfile is not None and settings.ssl_keyfile is not None:
            files = [settings.ssl_certfile, settings.ssl_keyfile]
            self._certificate = WatchedFile(files, partial(Certificate.read, *files), access.certificate)
        for name, watched in (("api_keys", self._keys), ("certificate", self._certificate)):
            if watched is None:
                self.problems.pop(name, None)
                self._details.pop(name, None)

    @staticmethod
    def _key_problem(keys: WatchedFile[KeyFile]) -> str:
        if keys.trouble:
            return _BAD["api_keys"]
        return "" if keys.value.keys else _EMPTY
