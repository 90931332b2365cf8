"""Reloads configuration, API keys, certificate and model while the server runs. What was valid last stays in use."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from ...errors import EngineError, MariTalkError, WeightsError
from ...http.certificate import Certificate
from ...i18n.message import msg
from ...models.model_fingerprint import ModelFingerprint
from ...settings import OPTIONS, Settings, flag
from ..middleware.access_config import AccessConfig, load_certificate
from ..middleware.api_keys import KeyFile, hash_key, read_key_file
from ..startup.launch import Launch
from .engine_room import gpus_have_room
from .watched_file import WatchedFile

POLL_SECONDS = 0.5
"""Interval between two polls of the files. A change is applied when two polls have found the same."""

_NO_KEYS = "The file of API keys holds no key: no key of it is valid."
_UNUSABLE = {
    "config": "The configuration file cannot be used: the options that were read before stay in use.",
    "api_keys": "The file of API keys cannot be used: the keys that were read before stay valid.",
    "certificate": "The certificate's files cannot be used: the certificate that was read before stays in use.",
    "model": "The model's changed files cannot be used: no engine could be started with them.",
}
_MODEL_CHANGED = "The model's files have changed since they were loaded: the next engine start needs them again."
_LISTED_FILES = 5
"""How many changed files the log names."""

CHANGEABLE = (
    *("api_key", "api_key_file", "ssl_certfile", "ssl_keyfile"),
    *("open_status", "requests_per_minute", "tokens_per_minute", "answers_per_key"),
    *("batch_tokens_per_minute", "batch_retention", "files_per_key_mb", "flex_timeout"),
    *("max_body_mb", "no_access_log", "drain_timeout", "start_timeout", "engine_timeout", "api_timeout"),
    *("resume_timeout", "log_max_mb", "log_backups"),
)
"""The options that a reload by SIGHUP applies from the configuration file at once."""

NEED_ENGINE = (
    *("model", "license", "license_public_key", "license_service"),
    *("tensor_parallel_size", "pipeline_parallel_size", "replicas", "max_model_len", "gpu_memory_utilization"),
    *("api_processes", "otlp_traces_endpoint", "engine_args"),
)
"""The options that it applies by replacing the engine, unless this is a node of a group."""

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)  # the log has warnings alone, but also that a reload succeeded


class ConfigReload:
    """Keeps a launch up to date with its files."""

    def __init__(
        self, launch: Launch, config: Path | None = None, reload_settings: Callable[[], Settings] | None = None
    ) -> None:
        """`reload_settings` reads all settings again, including those in the file `config`."""
        self.launch = launch
        self._config: WatchedFile[Settings] | None = None
        if config is not None and reload_settings is not None:
            self._config = WatchedFile([config], reload_settings, launch.settings)
        self.problems: dict[str, str] = {}
        """For each watched file, a sentence that describes its problem without file names; empty if it is usable."""
        self._details: dict[str, str] = {}
        self._rejected = {"config": "", "model": ""}
        """Why the last SIGHUP did not apply the configuration, or changed files of the model; empty if it did."""
        self.reloads = 0
        """How many times SIGHUP was handled."""
        self.not_applied: tuple[str, ...] = ()
        """A sentence for each kind of file that the last SIGHUP did not apply."""
        self._reason: Literal["config", "model"] = "config"
        """What requires the successor."""
        self.successor: Launch | None = None
        """The start that the last SIGHUP requires another engine for, until `use_successor`."""
        self._predecessor = launch
        self._watch(launch.settings)

    def poll(self, *, at_once: bool = False) -> bool:
        """Reload changed files. Returns whether `launch` or the problems have changed. `at_once`: as in WatchedFile."""
        before = self.launch, dict(self.problems)
        if self._config is not None:
            # It applies only on SIGHUP, but its problems are reported earlier.
            self._config.poll(at_once=at_once)
            problem = self._config.problem or self._rejected["config"]
            self.set_problem("config", _UNUSABLE["config"] if problem else "", problem)
        if self._keys is not None:
            if self._keys.poll(at_once=at_once):
                for warning in self._keys.value.warnings:
                    _log.warning(warning)
            self.set_problem("api_keys", self._key_problem(self._keys), self._keys.problem)
        if self._certificate is not None:
            self._certificate.poll(at_once=at_once)
            problem = self._certificate.problem
            self.set_problem("certificate", _UNUSABLE["certificate"] if problem else "", problem)
        access = self.launch.access
        updated = replace(
            access,
            file_keys=self._keys.value.keys if self._keys else access.file_keys,
            certificate=self._certificate.value if self._certificate else access.certificate,
        )
        if updated != access:
            self.launch = replace(self.launch, access=updated)
        return (self.launch, self.problems) != before

    def reload(self, files: ModelFingerprint | None = None) -> None:
        """Handle SIGHUP: apply the current settings if all of them are valid, and reload the files at once.

        `files` is the model's present fingerprint, None if it is unknown.
        """
        requested, is_valid = self.launch.settings, True
        if self._config is not None:
            self._config.poll(at_once=True)
            requested, is_valid = self._config.value, not self._config.problem
        self._rejected = {"config": "", "model": ""}
        if is_valid:
            self._reason = "config"
            try:
                self._apply(requested)
                if self.successor is None and self.launch.files is not None and files is not None:
                    self._use_changed_files(self.launch.files.changed_files(files))
            except MariTalkError as error:
                self._rejected[self._reason] = error.message
        self.poll(at_once=True)
        unusable = self._unusable()
        self.not_applied = tuple(map(_UNUSABLE.__getitem__, unusable))
        self.reloads += 1
        if unusable:
            _log.warning(f"All files were read again on SIGHUP. Not applied: {', '.join(unusable.values())}.")
        else:
            _log.info("All files were read again on SIGHUP.")

    def _unusable(self) -> dict[str, str]:
        """What the last SIGHUP did not apply: the keys of `_UNUSABLE` with their names in the log."""
        problems = {
            "config": ("configuration", self.problems.get("config")),
            "model": ("the model's changed files", self._rejected["model"]),
            "api_keys": ("API keys", self._keys.problem if self._keys else ""),
            "certificate": ("certificate", self._certificate.problem if self._certificate else ""),
        }
        return {key: name for key, (name, problem) in problems.items() if problem}

    def _apply(self, requested: Settings) -> None:
        """Apply the options that can change while the engine runs, and resolve its successor if others need one.

        Raises MariTalkError, and then changes nothing.
        """
        launch, old = self.launch, self.launch.settings
        new = replace(old, **{name: getattr(requested, name) for name in CHANGEABLE})
        if bool(old.api_key or old.api_key_file) and not (new.api_key or new.api_key_file):
            # A line that is missing from the file must not disable authentication.
            new = replace(new, api_key=old.api_key, api_key_file=old.api_key_file)
        if (old.ssl_certfile is None) != (new.ssl_certfile is None):
            new = replace(new, ssl_certfile=old.ssl_certfile, ssl_keyfile=old.ssl_keyfile)
        engine = {} if launch.group else {name: getattr(requested, name) for name in NEED_ENGINE}
        wanted = replace(new, **engine)
        later = [name for name in OPTIONS if getattr(wanted, name) != getattr(requested, name)]
        if later:
            _log.warning(f"Changes to these options take effect at the next start: {', '.join(map(flag, later))}.")
        access = launch.access if new == old else self._access(new)
        self.successor = None if wanted == new else self._resolve_successor(wanted, access)
        if new != old:
            self.launch = replace(launch, settings=new, access=access)
            self._watch(new)

    def _use_changed_files(self, names: Sequence[str]) -> None:
        """Resolve a successor that loads the model's changed files. Raises MariTalkError."""
        if not names:
            return
        listed = ", ".join(names[:_LISTED_FILES]) + (" ..." if len(names) > _LISTED_FILES else "")
        if self.launch.group is not None:
            _log.warning(f"The model's files have changed, which takes effect at the next start: {listed}.")
            return
        _log.warning(f"The model's files have changed, which needs another engine: {listed}.")
        self._reason = "model"
        self.successor = self._resolve_successor(self.launch.settings, self.launch.access)

    @property
    def files_have_changed(self) -> bool:
        """Whether changed files of the model require the successor, and not settings."""
        return self._reason == "model"

    def _access(self, new: Settings) -> AccessConfig:
        """The keys, limits and certificate of changed settings. Raises UsageError."""
        launch, old = self.launch, self.launch.settings
        access = launch.access.with_limits(new)
        if new.api_key_file != old.api_key_file:
            access = replace(access, file_keys=read_key_file(new.api_key_file).keys if new.api_key_file else None)
        if (new.ssl_certfile, new.ssl_keyfile) != (old.ssl_certfile, old.ssl_keyfile):
            access = replace(access, certificate=load_certificate(new))
        return replace(access, digests=tuple(map(hash_key, new.api_key)))

    def _resolve_successor(self, settings: Settings, access: AccessConfig) -> Launch:
        """Resolve the start that is to replace the one that serves. Raises MariTalkError."""
        successor = self._on_free_gpus(self.launch.resolve_successor(settings, access), settings, access)
        if successor.source.fetch is not None:  # requests would wait for the download
            raise WeightsError(
                msg("The weights of {model} are not on this machine.", model=successor.source.name),
                msg(
                    "Download them with `maritalk-vllm download --model {name}`, then reload again.",
                    name=successor.source.exact_name,
                ),
            )
        return replace(successor, data_dir=self.launch.data_dir)

    def _on_free_gpus(self, successor: Launch, settings: Settings, access: AccessConfig) -> Launch:
        """Return a successor that is as good, on GPUs that are free while the engine runs, if there is one."""
        used = {gpu.uuid for gpu in self.launch.plan.gpus}
        if used.isdisjoint(gpu.uuid for gpu in successor.plan.gpus):
            return successor
        try:
            other = self.launch.resolve_successor(settings, access, avoid=used)
        except MariTalkError:
            return successor
        return other if other.plan.is_as_good_as(successor.plan) and gpus_have_room(other.plan) else successor

    def use_successor(self) -> None:
        """Replace the launch by its successor, unless a later reload has withdrawn it."""
        self._predecessor = self.launch
        if self.successor is not None:
            self.launch, self.successor = self._with_current_options(self.successor), None

    def reject_successor(self, error: MariTalkError) -> None:
        """Keep the launch: the engine of its successor failed to start with `error`."""
        self.successor = None
        self._rejected[self._reason] = error.message

    def use_predecessor(self, error: EngineError) -> None:
        """Return to the launch before `use_successor`, whose engine failed to start with `error`."""
        self.launch = self._with_current_options(self._predecessor)
        self._rejected[self._reason] = error.message

    def _with_current_options(self, launch: Launch) -> Launch:
        """Return `launch` with what has been reloaded since it was resolved."""
        current = {name: getattr(self.launch.settings, name) for name in CHANGEABLE}
        return replace(launch, settings=replace(launch.settings, **current), access=self.launch.access)

    def resolve_again(self) -> None:
        """Resolve the launch again after the weights were downloaded. Raises MariTalkError."""
        launch = self.launch
        again = launch.resolve_again(launch.settings, launch.access)
        # An API process that outlives its engine has read the earlier files: a reload is to replace it.
        self.launch = replace(again, data_dir=launch.data_dir, files=launch.files or again.files)

    def report_model(self, *, has_changed: bool) -> bool:
        """Report whether files that the engine has loaded are lost. Returns whether the problem has changed."""
        if detail := self._rejected["model"]:
            return self.set_problem("model", _UNUSABLE["model"], detail)
        return self.set_problem("model", _MODEL_CHANGED if has_changed else "")

    def set_problem(self, name: str, problem: str, detail: str = "") -> bool:
        """Set the problem of `name`, empty for none, and log a change with `detail`. Returns whether it has changed."""
        changed = (problem, detail) != (self.problems.get(name, ""), self._details.get(name, ""))
        if changed:
            if problem:
                _log.warning(f"{problem} {detail}".rstrip())
            else:
                _log.warning(f"In order again: {name}.")
        self.problems[name], self._details[name] = problem, detail
        return changed

    def _watch(self, settings: Settings) -> None:
        """Watch only the files that these settings name. The launch has their current content."""
        self._keys: WatchedFile[KeyFile] | None = None
        self._certificate: WatchedFile[Certificate] | None = None
        access = self.launch.access
        if (file := settings.api_key_file) is not None:

            def read() -> KeyFile:
                # An empty file revokes all keys; only an unreadable file changes nothing.
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
        if keys.problem:
            return _UNUSABLE["api_keys"]
        return "" if keys.value.keys else _NO_KEYS
