"""Reloads of keys, certificate and configuration: what is applied, what is kept, and what is reported."""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from maritalk_vllm.errors import EngineError, MariTalkError, UsageError
from maritalk_vllm.hardware.gpu import Gpu
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.process import engine_room
from maritalk_vllm.server.process.config_reload import ConfigReload
from maritalk_vllm.server.process.watched_file import WatchedFile
from maritalk_vllm.server.startup import launch as launch_module
from maritalk_vllm.server.startup.launch import Launch, decide
from maritalk_vllm.settings import Device, Settings
from maritalk_vllm.weights.fetch_request import FetchFromHub
from tests.models.files import model
from tests.planning.machines import gpu_plan, host, hypothetical_machine, open_need
from tests.server.startup.test_preflight import TOKENIZER
from tests.server.test_tls import Authority

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"
WEIGHTS = {"model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64])}


class Rig:
    """Files that a server reads, and the ConfigReload that polls them."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.keys.write_text(f"{FIRST}\n")
        paths = Authority().certify(folder)
        assert paths.ssl_certfile is not None and paths.ssl_keyfile is not None
        self.certfile, self.keyfile = paths.ssl_certfile, paths.ssl_keyfile
        self.settings = replace(
            paths, api_key_file=self.keys, license=EVALUATION_KEY, cache_dir=folder / "cache", port=0
        )
        self.reload = ConfigReload(decide(self.settings))
        self.poll()

    def poll(self) -> None:
        """Poll twice, so that a change is applied."""
        for _ in range(2):
            self.reload.poll()

    @property
    def access(self) -> AccessConfig:
        return self.reload.launch.access

    def accepts(self, key: str) -> bool:
        return self.access.keys.match(key) is not None


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + b"\xff\xfe")


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def restore(file: Path, content: bytes) -> None:
    if file.is_dir():
        file.rmdir()
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [remove, truncate, replace_by_folder])
def test_an_unreadable_key_file_keeps_the_last_keys(
    rig: Rig, log: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    good = rig.keys.read_bytes()
    damage(rig.keys)
    rig.poll()
    assert rig.accepts(FIRST)
    assert "keys that were read before stay valid" in rig.reload.problems["api_keys"]
    assert str(rig.keys) not in rig.reload.problems["api_keys"]
    rig.poll()
    (record,) = log.records
    assert str(rig.keys) in record.getMessage()
    restore(rig.keys, good)
    rig.poll()
    assert rig.reload.problems["api_keys"] == ""
    restore(rig.keys, SECOND.encode())
    rig.poll()
    assert (rig.accepts(FIRST), rig.accepts(SECOND)) == (False, True)


@pytest.mark.parametrize("content", ["", "\n\n", "# first-key-of-the-file\n"])
def test_an_empty_key_file_revokes_all_keys_and_does_not_disable_authentication(
    rig: Rig, log: pytest.LogCaptureFixture, content: str
) -> None:
    rig.keys.write_text(content)
    rig.poll()
    assert rig.access.keys
    assert not rig.accepts(FIRST)
    assert "no key of it is valid" in rig.reload.problems["api_keys"]
    assert "no key of it is valid" in log.text
    # Revoked keys stay revoked if the file is removed.
    rig.keys.unlink()
    rig.poll()
    assert rig.access.keys
    assert not rig.accepts(FIRST)
    rig.keys.write_text(SECOND)
    rig.poll()
    assert rig.accepts(SECOND)
    assert rig.reload.problems["api_keys"] == ""


def test_a_file_that_is_being_written_is_not_read_as_empty(rig: Rig) -> None:
    rig.keys.write_text("")
    rig.reload.poll()
    assert rig.accepts(FIRST)
    rig.keys.write_text(f"{FIRST}\n{SECOND}\n")
    rig.poll()
    assert rig.accepts(FIRST)
    assert rig.accepts(SECOND)
    rig.keys.write_text("")
    rig.reload.poll(at_once=True)
    assert not rig.accepts(FIRST)


def test_a_short_key_is_warned_of_when_it_is_loaded(rig: Rig, log: pytest.LogCaptureFixture) -> None:
    rig.keys.write_text("curta-demais")
    rig.poll()
    assert rig.accepts("curta-demais")
    assert "16 characters" in log.text
    assert "curta" not in log.text


@pytest.mark.parametrize("damage", [remove, empty, truncate, replace_by_folder])
@pytest.mark.parametrize("which", ["certfile", "keyfile"])
def test_an_unusable_certificate_keeps_the_last_one(rig: Rig, which: str, damage: Callable[[Path], None]) -> None:
    file: Path = getattr(rig, which)
    good, before = file.read_bytes(), rig.access.certificate
    damage(file)
    rig.poll()
    assert rig.access.certificate == before
    assert "certificate that was read before stays in use" in rig.reload.problems["certificate"]
    restore(file, good)
    rig.poll()
    assert rig.reload.problems["certificate"] == ""
    Authority().certify(file.parent)
    rig.poll()
    assert rig.access.certificate != before


def test_a_renewed_certificate_is_loaded_once_its_key_matches(rig: Rig) -> None:
    before, old_key = rig.access.certificate, rig.keyfile.read_bytes()
    Authority().certify(rig.certfile.parent)
    new_key = rig.keyfile.read_bytes()
    rig.keyfile.write_bytes(old_key)
    rig.poll()
    assert rig.access.certificate == before
    assert rig.reload.problems["certificate"]
    rig.keyfile.write_bytes(new_key)
    rig.poll()
    assert rig.access.certificate is not None
    assert rig.access.certificate.key == new_key.decode()


def test_resolving_a_launch_again_reads_no_file_again(rig: Rig) -> None:
    """After a download, the files may have been removed."""
    for file in (rig.keys, rig.certfile, rig.keyfile):
        file.unlink()
    before = rig.access
    rig.reload.resolve_again()
    assert rig.access == before


def test_a_watched_file_detects_changes_around_reads(tmp_path: Path) -> None:
    """A change between the first read and the first poll, one without a new fingerprint, and one during a read."""
    file = tmp_path / "file"
    file.write_text("b")
    allowed, during = True, ""

    def read() -> str:
        if not allowed:
            raise UsageError("Permission denied.")
        text = file.read_text()
        if during:
            file.write_text(during)
        return text

    watched = WatchedFile([file], read, "a")
    assert not watched.poll()
    assert watched.poll()
    assert watched.value == "b"
    assert not watched.poll()
    file.write_text("cc")
    allowed = False
    assert not watched.poll(at_once=True)
    assert watched.problem == "Permission denied."
    allowed = True
    assert watched.poll(at_once=True)
    assert (watched.value, watched.problem) == ("cc", "")
    during = "eeee"
    file.write_text("ddd")
    assert watched.poll(at_once=True)
    during = ""
    assert not watched.poll()
    assert watched.poll()
    assert watched.value == "eeee"


def test_a_key_file_is_reloaded_through_the_links_of_a_kubernetes_mount(rig: Rig, tmp_path: Path) -> None:
    """The path stays the same; the target of a link in it is replaced."""
    for number, key in enumerate((FIRST, SECOND)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "keys").write_text(key)
    rig.keys.unlink()
    (tmp_path / "data").symlink_to("0")
    rig.keys.symlink_to("data/keys")
    rig.poll()
    assert rig.accepts(FIRST)
    (tmp_path / "next").symlink_to("1")
    (tmp_path / "next").rename(tmp_path / "data")
    rig.poll()
    assert (rig.accepts(FIRST), rig.accepts(SECOND)) == (False, True)


def test_a_reload_disables_neither_authentication_nor_https(
    rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").touch()
    requested = replace(rig.settings, api_key_file=None, ssl_certfile=None, ssl_keyfile=None, max_body_mb=3, port=1)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: requested)
    reload.reload()
    access = reload.launch.access
    assert access.keys.match(FIRST)
    assert access.keys.match("") is None
    assert access.certificate is not None
    assert access.max_body_bytes == 3_000_000
    assert "at the next start: --port, --api-key-file, --ssl-certfile, --ssl-keyfile." in log.text


def test_a_reload_applies_another_key_file_or_reports_why_not(
    rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").touch()
    requested = replace(rig.settings, api_key_file=tmp_path / "others", max_body_mb=3)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: requested)
    reload.reload()
    assert reload.launch.access.keys.match(FIRST)
    assert reload.launch.access.max_body_bytes == 16_000_000
    assert log.messages[-1] == "All files were read again on SIGHUP. Not applied: configuration."
    for _ in range(3):
        # It stays rejected until the next SIGHUP.
        assert "options that were read before stay in use" in reload.problems["config"]
        reload.poll()
    (tmp_path / "others").write_text(SECOND)
    reload.reload()
    assert reload.problems["config"] == ""
    assert log.messages[-1] == "All files were read again on SIGHUP."
    assert log.records[-1].levelname == "INFO"
    assert reload.reloads == 2
    assert reload.launch.access.max_body_bytes == 3_000_000
    assert reload.launch.access.keys.match(FIRST) is None
    (tmp_path / "others").write_text(FIRST)
    reload.poll(at_once=True)
    assert reload.launch.access.keys.match(FIRST)


def test_problems_of_files_that_are_no_longer_watched_are_cleared(
    rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").touch()
    requested = replace(rig.settings, api_key=(SECOND,), api_key_file=None)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: requested)
    rig.keys.unlink()
    reload.poll(at_once=True)
    assert reload.problems["api_keys"]
    reload.reload()
    assert "api_keys" not in reload.problems
    assert reload.launch.access.keys.match(FIRST) is None
    requested = rig.settings
    rig.keys.write_text(FIRST)
    reload.reload()
    assert reload.problems["api_keys"] == ""


def test_a_reload_applies_limits_and_timeouts(rig: Rig, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config").touch()
    requested = replace(rig.settings, answers_per_key=3, api_timeout=7.0)
    reload = ConfigReload(decide(rig.settings), tmp_path / "config", lambda: requested)
    reload.reload()
    assert (reload.launch.access.answers_per_key, reload.launch.settings.api_timeout) == (3, 7.0)
    assert "next start" not in log.text


def test_the_chat_key_stays_valid_when_a_reload_adds_or_replaces_keys(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    settings = replace(rig.settings, api_key_file=None)
    launch = decide(settings)
    requested = replace(settings, api_key=(FIRST,))
    reload = ConfigReload(
        replace(launch, access=launch.access.with_extra_key("chat")), tmp_path / "config", lambda: requested
    )
    assert not reload.launch.access.keys
    for key in (FIRST, SECOND):
        requested = replace(settings, api_key=(key,))
        reload.reload()
        keys = reload.launch.access.keys
        assert (keys.match("chat"), keys.match(key)) == (hash_key("chat"), hash_key(key))
        assert not keys.are_several
    assert keys.match(FIRST) is None


class Served:
    """A ConfigReload of the demo model, and the settings that its configuration file has."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(license=EVALUATION_KEY, cache_dir=folder / "cache", device=Device.CPU, port=0)
        self.requested = self.settings
        (folder / "config").touch()
        self.reload = ConfigReload(decide(self.settings), folder / "config", lambda: self.requested)

    def request(self, **changed: object) -> Launch | None:
        """Reload with these settings changed, and return the successor."""
        self.requested = replace(self.settings, **changed)  # type: ignore[arg-type]
        self.reload.reload()
        return self.reload.successor


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


def test_settings_that_need_another_engine_have_a_successor(served: Served, log: pytest.LogCaptureFixture) -> None:
    old = served.reload.launch
    successor = served.request(max_model_len=1024, api_timeout=7.0, host="127.0.0.1")
    assert successor is not None and "1024" in successor.engine_args
    assert served.reload.launch.engine_args == old.engine_args
    assert served.reload.launch.settings.api_timeout == 7.0
    assert "to these options take effect at the next start: --host." in log.text
    served.reload.use_successor()
    assert served.reload.launch == replace(successor, access=served.reload.launch.access)
    assert (served.reload.launch.settings.host, served.reload.successor) == (old.settings.host, None)


def test_a_successor_is_withdrawn_when_the_settings_return(served: Served) -> None:
    old = served.reload.launch
    assert served.request(max_model_len=1024) is not None
    assert served.request() is None
    served.reload.use_successor()
    assert served.reload.launch is old


def test_settings_that_cannot_be_served_change_nothing(served: Served, tmp_path: Path) -> None:
    old = served.reload.launch
    assert served.request(model=str(tmp_path / "missing"), api_timeout=7.0) is None
    assert served.reload.launch is old
    assert "options that were read before stay in use" in served.reload.problems["config"]


def test_a_model_that_has_to_be_downloaded_is_no_successor(served: Served, log: pytest.LogCaptureFixture) -> None:
    launch = served.reload.launch
    absent = replace(launch, source=replace(launch.source, fetch=FetchFromHub("Qwen/Qwen3-0.6B")))
    served.reload.launch = replace(launch, resolve_successor=lambda *_, **__: absent)
    assert served.request(max_model_len=1024) is None
    assert "are not on this machine" in log.text


def test_the_predecessor_gets_what_was_reloaded_since(served: Served) -> None:
    old = served.reload.launch
    served.request(max_model_len=1024)
    served.reload.use_successor()
    served.request(max_model_len=1024, api_timeout=7.0, api_key=(FIRST,))
    served.reload.use_predecessor(EngineError("No room."))
    launch = served.reload.launch
    assert (launch.engine_args, launch.settings.max_model_len) == (old.engine_args, old.settings.max_model_len)
    assert launch.settings.api_timeout == 7.0
    assert launch.access.keys.match(FIRST)
    served.reload.poll()
    assert served.reload.problems["config"]


def test_a_successor_is_resolved_for_the_memory_before_the_engine_that_runs(served: Served) -> None:
    """While it runs, its memory is not free: the hardware is not probed again."""
    with patch.object(launch_module, "probe_hardware", side_effect=AssertionError):
        assert served.request(max_model_len=1024) is not None


def test_a_successor_uses_gpus_that_are_free_beside_the_engine_that_runs(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If they are as good, and free now: else it has those that it would have alone."""
    machine = hypothetical_machine("2xA10,1xL4")
    first, second, slower = machine.gpus
    plan = replace(gpu_plan(open_need(2), machine), gpus=(first,))
    launch = served.reload.launch

    def chosen(other: Gpu, *free: Gpu) -> Gpu:
        """The GPU of the successor, if a plan that avoids the first uses `other`."""

        def resolve(settings: Settings, access: AccessConfig, *, avoid: Collection[str] = ()) -> Launch:
            gpu = other if first.uuid in avoid else first
            return replace(launch, settings=settings, access=access, plan=replace(plan, gpus=(gpu,)))

        served.reload.launch = replace(launch, plan=plan, resolve_successor=resolve)
        monkeypatch.setattr(engine_room, "usable_gpus", lambda: free)
        successor = served.request(max_model_len=1024)
        assert successor is not None
        return successor.plan.gpus[0]

    assert chosen(second, second) is second
    assert chosen(second, slower) is first
    assert chosen(slower, slower) is first


def test_gpus_that_a_start_avoids_are_not_planned(tmp_path: Path) -> None:
    settings = Settings(license=EVALUATION_KEY, cache_dir=tmp_path / "cache", port=0)
    machine = replace(hypothetical_machine("2xA10"), host=host())
    # The installed vLLM may run on a CPU only.
    with patch.object(launch_module, "make_plan", side_effect=make_plan) as planned, suppress(MariTalkError):
        decide(settings, inventory=machine, avoid=[machine.gpus[0].uuid])
    assert planned.call_args.args[1].gpus == machine.gpus[1:]


def test_a_node_of_a_group_has_no_successor(served: Served, log: pytest.LogCaptureFixture) -> None:
    group = ClusterConfig.__new__(ClusterConfig)
    served.reload.launch = replace(served.reload.launch, group=group)
    assert served.request(max_model_len=1024) is None
    assert "take effect at the next start: --max-model-len." in log.text


class ServedFolder:
    """A ConfigReload of a model in a folder, without a configuration file."""

    def __init__(self, folder: Path, max_model_len: int = 1024, engine_args: tuple[str, ...] = ()) -> None:
        self.folder = folder / "model"
        self.replace_config(max_model_len)
        (self.folder / "tokenizer.json").write_text(TOKENIZER)
        settings = Settings(
            model=str(self.folder), cache_dir=folder / "cache", device=Device.CPU, port=0, engine_args=engine_args
        )
        self.config = folder / "config"
        self.config.touch()
        self.requested = settings
        self.reloading = ConfigReload(decide(settings), self.config, lambda: self.requested)

    def replace_config(self, max_model_len: int) -> None:
        """Write the model's files again, for another context length."""
        model(self.folder, WEIGHTS, max_position_embeddings=max_model_len)

    def reload(self) -> Launch | None:
        """Reload, and return the successor."""
        assert self.reloading.launch.files is not None
        self.reloading.reload(self.reloading.launch.files.again())
        return self.reloading.successor

    def problem(self) -> str:
        """The problem with the model's files."""
        self.reloading.report_model(has_changed=False)
        return self.reloading.problems["model"]


@pytest.fixture
def served_folder(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path)


def test_changed_files_of_the_model_have_a_successor(
    served_folder: ServedFolder, log: pytest.LogCaptureFixture
) -> None:
    """It is planned with them, and reading them again finds no more changes."""
    assert served_folder.reload() is None
    served_folder.replace_config(512)
    successor = served_folder.reload()
    assert successor is not None and "512" in successor.engine_args
    assert served_folder.reloading.files_have_changed
    assert "have changed, which needs another engine: config.json, model.safetensors." in log.text
    served_folder.reloading.use_successor()
    assert served_folder.reload() is None
    assert served_folder.problem() == ""


def test_a_changed_file_that_a_flag_names_has_a_successor(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    served_folder = ServedFolder(tmp_path, engine_args=("--chat-template", str(template)))
    assert served_folder.reload() is None
    template.write_text("{{ messages[0] }}")
    assert served_folder.reload() is not None
    assert served_folder.reloading.files_have_changed
    assert f"which needs another engine: {template}." in log.text
    served_folder.reloading.use_successor()
    assert served_folder.reload() is None


def test_a_new_snapshot_of_a_model_of_hugging_face_has_a_successor(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its files are complete: until then the reload reports what is missing."""
    repository = tmp_path / "models--org--name"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def download(commit: str, max_model_len: int) -> None:
        folder = repository / "snapshots" / commit
        model(folder, WEIGHTS, max_position_embeddings=max_model_len)
        (folder / "tokenizer.json").write_text(TOKENIZER)

    def refer(commit: str) -> None:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)

    def reload() -> Launch | None:
        assert reloading.launch.files is not None
        reloading.reload(reloading.launch.files.again())
        reloading.report_model(has_changed=False)
        return reloading.successor

    download("first", 1024)
    refer("first")
    reloading = ConfigReload(
        decide(Settings(model="org/name", cache_dir=tmp_path / "cache", device=Device.CPU, port=0))
    )
    assert reload() is None
    refer("second, which is being downloaded")
    assert reload() is None
    assert reloading.problems["model"]
    assert "The weights of org/name are not on this machine." in log.text
    download("second", 512)
    refer("second")
    successor = reload()
    assert successor is not None and "512" in successor.engine_args
    assert reloading.problems["model"] == ""
    reloading.use_successor()
    assert reload() is None


def test_a_changed_setting_that_needs_an_engine_comes_before_changed_files(served_folder: ServedFolder) -> None:
    served_folder.requested = replace(served_folder.requested, max_model_len=256)
    served_folder.replace_config(512)
    successor = served_folder.reload()
    assert successor is not None and "256" in successor.engine_args
    assert not served_folder.reloading.files_have_changed
    served_folder.reloading.use_successor()
    assert served_folder.reload() is None


def test_changed_files_that_cannot_be_served_are_reported_and_settings_are_applied(
    served_folder: ServedFolder, log: pytest.LogCaptureFixture
) -> None:
    (served_folder.folder / "config.json").write_text("{")
    served_folder.requested = replace(served_folder.requested, api_timeout=7.0)
    assert served_folder.reload() is None
    assert served_folder.reloading.launch.settings.api_timeout == 7.0
    assert served_folder.problem().startswith("The model's changed files cannot be used")
    assert "config.json" in log.records[-1].getMessage()
    assert served_folder.reloading.problems["config"] == ""
    served_folder.replace_config(512)
    assert served_folder.reload() is not None
    assert served_folder.problem() == ""


@pytest.mark.parametrize("fail", [ConfigReload.reject_successor, ConfigReload.use_predecessor])
def test_changed_files_with_which_no_engine_starts_are_reported(
    served_folder: ServedFolder, fail: Callable[[ConfigReload, EngineError], None]
) -> None:
    """The next reload tries them again."""
    served_folder.replace_config(512)
    assert served_folder.reload() is not None
    if fail is ConfigReload.use_predecessor:
        served_folder.reloading.use_successor()
    fail(served_folder.reloading, EngineError("No room."))
    assert served_folder.problem()
    assert served_folder.reload() is not None


def test_an_invalid_configuration_file_replaces_no_engine_for_changed_files(served_folder: ServedFolder) -> None:
    def read() -> Settings:
        raise UsageError("It is missing.")

    reloading = ConfigReload(served_folder.reloading.launch, served_folder.config, read)
    served_folder.reloading = reloading
    served_folder.replace_config(512)
    assert served_folder.reload() is None
    assert reloading.problems["config"]


def test_a_start_that_is_resolved_again_keeps_the_fingerprint_of_the_api_process(served_folder: ServedFolder) -> None:
    """It has outlived its engine with the earlier tokenizer: a reload replaces it."""
    served_folder.replace_config(512)
    served_folder.reloading.resolve_again()
    assert "512" in served_folder.reloading.launch.engine_args
    assert served_folder.reload() is not None


def test_changed_files_of_a_node_of_a_group_need_a_restart(
    served_folder: ServedFolder, log: pytest.LogCaptureFixture
) -> None:
    group = ClusterConfig.__new__(ClusterConfig)
    served_folder.reloading.launch = replace(served_folder.reloading.launch, group=group)
    served_folder.replace_config(512)
    assert served_folder.reload() is None
    assert "takes effect at the next start: config.json, model.safetensors." in log.text
